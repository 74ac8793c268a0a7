import { UserError } from '../../../common/errors.ts';
import { readArguments } from '../../arguments.ts';
import { type ActivationName, activationName, type NormSpec, normSpec } from '../../layers/layer-spec.ts';
import { type MlpSpec, mlpSpec } from '../../layers/mlp.ts';
import type { ModelArgs } from '../../model-args.ts';

const pools = ['', 'avg', 'avgmax', 'max', 'token', 'map', 'prr'] as const;
export type GlobalPool = (typeof pools)[number];

const blocks = [
  'Block',
  'ResPostBlock',
  'ParallelScalingBlock',
  'ParallelThingsBlock',
  'DiffParallelScalingBlock',
] as const;
export type BlockKind = (typeof blocks)[number];

/** The arguments of timm's VisionTransformer under timm's names, checked and resolved. */
export interface VisionTransformerArgs {
  img_size: readonly [number, number];
  patch_size: readonly [number, number];
  in_chans: number;
  num_classes: number;
  global_pool: GlobalPool;
  embed_dim: number;
  depth: number;
  num_heads: number;
  mlp_ratio: number;
  qkv_bias: boolean;
  qk_norm: boolean;
  scale_attn_norm: boolean;
  scale_mlp_norm: boolean;
  proj_bias: boolean;
  init_values: number | undefined;
  class_token: boolean;
  pos_embed: boolean;
  no_embed_class: boolean;
  reg_tokens: number;
  pre_norm: boolean;
  final_norm: boolean;
  fc_norm: boolean;
  pool_include_prefix: boolean;
  embed_norm: NormSpec | undefined;
  norm: NormSpec;
  activation: ActivationName;
  block: BlockKind;
  mlp: MlpSpec;
  differential: boolean;
}

/** Arguments that only training or other input sizes see; the graph of one input size is the same with any value. */
const withoutEffect = [
  'dynamic_img_size dynamic_img_pad drop_rate pos_drop_rate patch_drop_rate proj_drop_rate attn_drop_rate',
  'drop_path_rate',
]
  .join(' ')
  .split(' ');

const known = [
  'img_size patch_size in_chans num_classes global_pool embed_dim depth num_heads mlp_ratio qkv_bias qk_norm',
  'scale_attn_norm scale_mlp_norm proj_bias init_values class_token pos_embed no_embed_class reg_tokens pre_norm',
  'final_norm fc_norm pool_include_prefix embed_norm_layer norm_layer act_layer block_fn mlp_layer attn_layer',
]
  .join(' ')
  .split(' ');

/** @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses */
export function visionTransformerArgs(args: ModelArgs): VisionTransformerArgs {
  const read = readArguments(args, known, withoutEffect);
  const global_pool = read.oneOf('global_pool', pools, 'token');
  const class_token = read.boolean('class_token', true);
  const embed_dim = read.integer('embed_dim', 768, 1);
  const num_heads = read.integer('num_heads', 12, 1);
  const activation = activationName('act_layer', args.act_layer);
  if (global_pool === 'token' && !class_token) {
    throw new UserError('global_pool "token" needs class_token; use "avg" or "map" without one');
  }
  if (embed_dim % num_heads !== 0) {
    throw new UserError(`embed_dim ${embed_dim} is not divisible by num_heads ${num_heads}`);
  }
  const img_size = read.pair('img_size', 224);
  const patch_size = read.pair('patch_size', 16);
  if (img_size[0] < patch_size[0] || img_size[1] < patch_size[1]) {
    throw new UserError(`img_size ${img_size} is smaller than one patch of ${patch_size}`);
  }
  if (args.dynamic_img_pad === true && img_size.some((size, i) => size % patch_size[i]! !== 0)) {
    throw new UserError(`img_size ${img_size} is not divisible by patch_size ${patch_size}`);
  }
  const block = read.layer('block_fn', blocks, 'Block');
  const resolved: VisionTransformerArgs = {
    img_size,
    patch_size,
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool,
    embed_dim,
    depth: read.integer('depth', 12, 0),
    num_heads,
    mlp_ratio: read.number('mlp_ratio', 4),
    qkv_bias: read.boolean('qkv_bias', true),
    qk_norm: read.boolean('qk_norm', false),
    scale_attn_norm: read.boolean('scale_attn_norm', false),
    scale_mlp_norm: read.boolean('scale_mlp_norm', false),
    proj_bias: read.boolean('proj_bias', true),
    init_values: args.init_values == null ? undefined : read.number('init_values', 0),
    class_token,
    pos_embed: read.oneOf('pos_embed', ['', 'none', 'learn'], 'learn') === 'learn',
    no_embed_class: read.boolean('no_embed_class', false),
    reg_tokens: read.integer('reg_tokens', 0, 0),
    pre_norm: read.boolean('pre_norm', false),
    final_norm: read.boolean('final_norm', true),
    fc_norm: read.boolean('fc_norm', ['avg', 'avgmax', 'max'].includes(global_pool)),
    pool_include_prefix: read.boolean('pool_include_prefix', false),
    embed_norm: args.embed_norm_layer ? normSpec('embed_norm_layer', args.embed_norm_layer) : undefined,
    norm: normSpec('norm_layer', args.norm_layer),
    activation,
    block,
    mlp: mlpSpec(args.mlp_layer, activation),
    differential: read
      .layer('attn_layer', ['', 'attn', 'diff', 'Attention', 'DiffAttention'], 'attn')
      .toLowerCase()
      .startsWith('diff'),
  };
  if (resolved.mlp_ratio * embed_dim < 1)
    throw new UserError(`mlp_ratio ${resolved.mlp_ratio} leaves no hidden units`);
  const differential = resolved.differential || block === 'DiffParallelScalingBlock';
  if (differential && (embed_dim / num_heads) % 2 !== 0) {
    throw new UserError(
      `differential attention halves its heads: ${embed_dim / num_heads} channels a head is odd`,
    );
  }
  const { scale_attn_norm, scale_mlp_norm } = resolved;
  if (block.endsWith('ParallelScalingBlock') && (scale_attn_norm || scale_mlp_norm)) {
    throw new UserError(`${block} has no scale_attn_norm and scale_mlp_norm`);
  }
  return resolved;
}
