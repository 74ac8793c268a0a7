import { UserError } from '../../../common/errors.ts';
import { readArguments } from '../../arguments.ts';
import { normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

/** Arguments that only training sees. */
const withoutEffect = ['drop_rate', 'pos_drop_rate', 'proj_drop_rate', 'attn_drop_rate', 'drop_path_rate'];

const known = [
  'img_size patch_size in_chans num_classes global_pool embed_dim depth num_heads qkv_bias mlp_ratio swiglu_mlp',
  'scale_mlp norm_layer init_values use_abs_pos_emb use_rel_pos_bias use_shared_rel_pos_bias head_init_scale',
]
  .join(' ')
  .split(' ');

/** The arguments of timm's Beit, checked. */
export type BeitArgs = ReturnType<typeof beitArgs>;

/** @throws UserError on an unknown argument, a value of the wrong kind, or widths that do not divide */
export function beitArgs(args: ModelArgs) {
  const read = readArguments(args, known, withoutEffect);
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.pair('patch_size', 16),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'avg', 'token'], 'avg'),
    embed_dim: read.integer('embed_dim', 768, 1),
    depth: read.integer('depth', 12, 0),
    num_heads: read.integer('num_heads', 12, 1),
    qkv_bias: read.boolean('qkv_bias', true),
    mlp_ratio: read.number('mlp_ratio', 4),
    swiglu_mlp: read.boolean('swiglu_mlp', false),
    scale_mlp: read.boolean('scale_mlp', false),
    norm: normSpec('norm_layer', args.norm_layer),
    init_values: read.number('init_values', 0),
    use_abs_pos_emb: read.boolean('use_abs_pos_emb', true),
    use_rel_pos_bias: read.boolean('use_rel_pos_bias', false),
    use_shared_rel_pos_bias: read.boolean('use_shared_rel_pos_bias', false),
    head_init_scale: read.number('head_init_scale', 0.001),
  };
  const { embed_dim, num_heads } = resolved;
  if (embed_dim % num_heads !== 0) {
    throw new UserError(`embed_dim ${embed_dim} is not divisible by num_heads ${num_heads}`);
  }
  return resolved;
}
