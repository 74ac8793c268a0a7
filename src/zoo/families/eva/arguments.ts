import { UserError } from '../../../common/errors.ts';
import { readArguments } from '../../arguments.ts';
import { normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

/** Arguments that only training or other input sizes see. */
const withoutEffect = [
  'drop_rate pos_drop_rate patch_drop_rate proj_drop_rate attn_drop_rate drop_path_rate dynamic_img_size',
  'dynamic_img_pad',
]
  .join(' ')
  .split(' ');

const known = [
  'img_size patch_size in_chans num_classes global_pool embed_dim depth num_heads qkv_bias qkv_fused mlp_ratio',
  'swiglu_mlp swiglu_align_to scale_mlp scale_attn_inner attn_type norm_layer init_values class_token',
  'num_reg_tokens no_embed_class use_abs_pos_emb use_rot_pos_emb rope_type rope_grid_offset rope_grid_indexing',
  'rope_temperature rope_rotate_half use_post_norm use_pre_transformer_norm use_post_transformer_norm use_fc_norm',
  'attn_pool_num_heads attn_pool_mlp_ratio ref_feat_shape head_init_scale',
]
  .join(' ')
  .split(' ');

/** The arguments of timm's Eva, checked and resolved. */
export type EvaArgs = ReturnType<typeof evaArgs>;

/** @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses */
export function evaArgs(args: ModelArgs) {
  const read = readArguments(args, known, withoutEffect);
  const global_pool = read.oneOf('global_pool', ['', 'avg', 'avgmax', 'max', 'token', 'map'], 'avg');
  const fcNorm = read.boolean('use_fc_norm', global_pool === 'avg');
  const num_heads = read.integer('num_heads', 12, 1);
  const mlp_ratio = read.number('mlp_ratio', 4);
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.pair('patch_size', 16),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool,
    embed_dim: read.integer('embed_dim', 768, 1),
    depth: read.integer('depth', 12, 0),
    num_heads,
    qkv_bias: read.boolean('qkv_bias', true),
    qkv_fused: read.boolean('qkv_fused', true),
    mlp_ratio,
    swiglu_mlp: read.boolean('swiglu_mlp', false),
    swiglu_align_to: read.integer('swiglu_align_to', 0, 0),
    scale_mlp: read.boolean('scale_mlp', false),
    scale_attn_inner: read.boolean('scale_attn_inner', false),
    attn_type: read.oneOf('attn_type', ['eva', 'rope'], 'eva'),
    norm: normSpec('norm_layer', args.norm_layer),
    init_values: args.init_values == null ? undefined : read.number('init_values', 0),
    class_token: read.boolean('class_token', true),
    num_reg_tokens: read.integer('num_reg_tokens', 0, 0),
    no_embed_class: read.boolean('no_embed_class', false),
    use_abs_pos_emb: read.boolean('use_abs_pos_emb', true),
    use_rot_pos_emb: read.boolean('use_rot_pos_emb', false),
    rope_type: read.oneOf('rope_type', ['cat', 'mixed', 'dinov3'], 'cat'),
    rope_grid_offset: read.number('rope_grid_offset', 0),
    rope_grid_indexing: read.oneOf('rope_grid_indexing', ['ij', 'xy'], 'ij'),
    rope_temperature: read.number('rope_temperature', 10000),
    rope_rotate_half: read.boolean('rope_rotate_half', false),
    use_post_norm: read.boolean('use_post_norm', false),
    pre_norm: read.boolean('use_pre_transformer_norm', false),
    final_norm: read.boolean('use_post_transformer_norm', !fcNorm),
    fc_norm: fcNorm,
    attn_pool_num_heads: read.integer('attn_pool_num_heads', 0, 0) || num_heads,
    attn_pool_mlp_ratio: read.number('attn_pool_mlp_ratio', 0) || mlp_ratio,
    /** Patches of the images that the rotary positions were learned on. */
    ref_feat_shape: args.ref_feat_shape == null ? undefined : read.pair('ref_feat_shape', 1),
    head_init_scale: read.number('head_init_scale', 0.001),
  };
  const { embed_dim, class_token } = resolved;
  if (global_pool === 'token' && !class_token && resolved.num_reg_tokens === 0) {
    throw new UserError('global_pool "token" needs class_token; use "avg" or "map" without one');
  }
  if (embed_dim % num_heads !== 0) {
    throw new UserError(`embed_dim ${embed_dim} is not divisible by num_heads ${num_heads}`);
  }
  if (resolved.use_rot_pos_emb && (embed_dim / num_heads) % 4 !== 0) {
    throw new UserError(
      `rotary positions take four channels at a time: ${embed_dim / num_heads} a head are not divisible by 4`,
    );
  }
  return resolved;
}
