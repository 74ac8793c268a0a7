import { UserError } from '../../../common/errors.ts';
import { readArguments } from '../../arguments.ts';
import { activationName, normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

/** Arguments that only training sees. */
const withoutEffect = ['drop_rate', 'proj_drop_rate', 'attn_drop_rate', 'drop_path_rate'];

const known = [
  'img_size patch_size in_chans num_classes global_pool embed_dim depth num_heads mlp_ratio qkv_bias qk_norm',
  'init_values class_token fc_norm rel_pos_type rel_pos_dim shared_rel_pos norm_layer act_layer block_fn',
]
  .join(' ')
  .split(' ');

/** The arguments of timm's VisionTransformerRelPos, checked. */
export type RelPosArgs = ReturnType<typeof relPosArgs>;

/** @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses */
export function relPosArgs(args: ModelArgs) {
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
    mlp_ratio: read.number('mlp_ratio', 4),
    qkv_bias: read.boolean('qkv_bias', true),
    qk_norm: read.boolean('qk_norm', false),
    /** An explicit null is none. */
    init_values: args.init_values === null ? 0 : read.number('init_values', 1e-6),
    class_token: read.boolean('class_token', false),
    fc_norm: read.boolean('fc_norm', false),
    rel_pos_type: read.oneOf('rel_pos_type', ['mlp', 'mlp_swin', 'bias'], 'mlp'),
    rel_pos_dim: read.integer('rel_pos_dim', 0, 0),
    shared_rel_pos: read.boolean('shared_rel_pos', false),
    norm: normSpec('norm_layer', args.norm_layer),
    activation: activationName('act_layer', args.act_layer),
    block: read.layer('block_fn', ['RelPosBlock', 'ResPostRelPosBlock'], 'RelPosBlock'),
  };
  const { global_pool, class_token, embed_dim, num_heads } = resolved;
  if (global_pool === 'token' && !class_token) {
    throw new UserError('global_pool "token" needs class_token; use "avg" without one');
  }
  if (embed_dim % num_heads !== 0) {
    throw new UserError(`embed_dim ${embed_dim} is not divisible by num_heads ${num_heads}`);
  }
  return resolved;
}
