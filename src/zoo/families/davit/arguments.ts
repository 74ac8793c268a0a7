import { UserError } from '../../../common/errors.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import type { NormSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

/** Arguments that only training sees. */
const withoutEffect = ['drop_rate', 'drop_path_rate'];

const known = [
  'img_size in_chans num_classes global_pool depths embed_dims num_heads window_size mlp_ratio qkv_bias attn_types',
  'norm_eps ffn cpe_act down_kernel_size channel_attn_v2 named_blocks head_norm_first',
]
  .join(' ')
  .split(' ');

const attentions = ['spatial', 'channel'] as const;
export type AttentionKind = (typeof attentions)[number];

/** The arguments of timm's DaVit, checked. */
export type DavitArgs = ReturnType<typeof davitArgs>;

/** @throws UserError on an unknown argument, a value of the wrong kind, or lists of different lengths */
export function davitArgs(args: ModelArgs) {
  const read = readArguments(args, known, withoutEffect);
  const norm: NormSpec = { kind: 'layer', epsilon: read.number('norm_eps', 1e-5) };
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    depths: read.integers('depths', [1, 1, 3, 1], 0),
    embed_dims: read.integers('embed_dims', [96, 192, 384, 768]),
    num_heads: read.integers('num_heads', [3, 6, 12, 24]),
    window: read.pair('window_size', 7),
    mlp_ratio: read.number('mlp_ratio', 4),
    qkv_bias: read.boolean('qkv_bias', true),
    kinds: kindsOf(args.attn_types),
    norm,
    ffn: read.boolean('ffn', true),
    cpe_act: read.boolean('cpe_act', false),
    down_kernel_size: read.integer('down_kernel_size', 2, 1),
    channel_attn_v2: read.boolean('channel_attn_v2', false),
    named_blocks: read.boolean('named_blocks', false),
    head_norm_first: read.boolean('head_norm_first', false),
  };
  const { depths, embed_dims, num_heads } = resolved;
  checkStages({ embed_dims, depths, num_heads });
  checkHeads(embed_dims, num_heads);
  return resolved;
}

function kindsOf(value: unknown): readonly AttentionKind[] {
  const given = value ?? attentions;
  if (Array.isArray(given) && given.every((kind) => attentions.includes(kind))) return given;
  throw new UserError(`attn_types is ${JSON.stringify(value)}; it must be a list of "spatial" and "channel"`);
}
