import { UserError } from '../../../common/errors.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { activationName } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

const known =
  'img_size in_chans num_classes embed_dim key_dim depth num_heads attn_ratio mlp_ratio stem_type act_layer attn_act_layer use_conv global_pool';
/** `down_op` is asked only whether there is one. */
const withoutEffect = 'down_op drop_rate drop_path_rate';

/**
 * The arguments of timm's Levit under timm's names, checked and resolved.
 * @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses
 */
export function levitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const embed_dim = read.integers('embed_dim', [192]);
  const stages = <T>(value: T) => embed_dim.map(() => value);
  const stem_type = read.oneOf('stem_type', ['s16', 's8'], 's16');
  const activation = activationName('act_layer', args.act_layer, 'hardswish');
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    embed_dim,
    key_dim: read.integer('key_dim', 64, 1),
    depth: read.integers('depth', [12], 0),
    num_heads: read.integers('num_heads', stages(3)),
    attn_ratio: read.perStage('attn_ratio', stages(2)),
    mlp_ratio: read.perStage('mlp_ratio', stages(2)),
    stem_steps: stem_type === 's16' ? 4 : 3,
    activation,
    attn_activation: activationName('attn_act_layer', args.attn_act_layer, activation),
    use_conv: read.boolean('use_conv', false),
    global_pool: read.oneOf('global_pool', ['avg'], 'avg'),
  };
  const { depth, num_heads, attn_ratio, mlp_ratio, img_size, stem_steps } = resolved;
  checkStages({ embed_dim, depth, num_heads, attn_ratio, mlp_ratio });
  if (img_size.some((size) => size % 2 ** stem_steps !== 0)) {
    throw new UserError(`img_size ${img_size} is not a multiple of ${2 ** stem_steps}, the stem's stride`);
  }
  return resolved;
}
export type LevitArgs = ReturnType<typeof levitArgs>;
