import { UserError } from '../../../common/errors.ts';
import { checkHeads, readArguments } from '../../arguments.ts';
import { activationName, normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

const known =
  'img_size patch_size in_chans num_classes global_pool embed_dim depth num_heads mlp_ratio qkv_bias act_layer norm_layer cls_attn_layers use_pos_embed eta tokens_norm';
const withoutEffect = 'drop_rate pos_drop_rate proj_drop_rate attn_drop_rate drop_path_rate';

/**
 * The arguments of timm's Xcit under timm's names, checked and resolved.
 * @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses
 */
export function xcitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.integer('patch_size', 16, 8),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'avg', 'token'], 'token'),
    embed_dim: read.integer('embed_dim', 768, 8),
    depth: read.integer('depth', 12, 0),
    num_heads: read.integer('num_heads', 12, 1),
    mlp_ratio: read.number('mlp_ratio', 4),
    qkv_bias: read.boolean('qkv_bias', true),
    activation: activationName('act_layer', args.act_layer),
    norm: normSpec('norm_layer', args.norm_layer),
    cls_attn_layers: read.integer('cls_attn_layers', 2, 0),
    use_pos_embed: read.boolean('use_pos_embed', true),
    eta: read.number('eta', 1),
    tokens_norm: read.boolean('tokens_norm', false),
  };
  const { img_size, patch_size, embed_dim, num_heads } = resolved;
  if (patch_size !== 8 && patch_size !== 16) {
    throw new UserError(`patch_size ${patch_size} has no convolutions here; use 8 or 16`);
  }
  if (img_size.some((size) => size % patch_size !== 0)) {
    throw new UserError(`img_size ${img_size} is not divisible by patch_size ${patch_size}`);
  }
  checkHeads([embed_dim], [num_heads]);
  return resolved;
}
export type XcitArgs = ReturnType<typeof xcitArgs>;
