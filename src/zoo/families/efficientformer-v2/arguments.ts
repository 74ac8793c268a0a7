import { UserError } from '../../../common/errors.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { bounded } from '../../bounded.ts';
import { activationName } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

const known =
  'img_size depths embed_dims in_chans num_classes global_pool num_vit mlp_ratios norm_eps layer_scale_init_value act_layer distillation';
const withoutEffect = 'drop_rate proj_drop_rate drop_path_rate';

/**
 * The arguments of timm's EfficientFormerV2 under timm's names, checked and resolved.
 * @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses
 */
export function efficientFormerV2Args(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const depths = read.integers('depths', [2, 2, 6, 4]);
  const embed_dims = read.integers('embed_dims', [32, 48, 96, 176]);
  const mlp_ratios = ratiosOf(args.mlp_ratios ?? 4, depths);
  checkStages({ depths, embed_dims, mlp_ratios });
  return {
    img_size: read.pair('img_size', 224),
    depths,
    embed_dims,
    mlp_ratios,
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg'], 'avg'),
    num_vit: read.integer('num_vit', 0, 0),
    norm_eps: read.number('norm_eps', 1e-5),
    layer_scale: read.number('layer_scale_init_value', 1e-5),
    activation: activationName('act_layer', args.act_layer),
    distillation: read.boolean('distillation', true),
  };
}
export type EfficientFormerV2Args = ReturnType<typeof efficientFormerV2Args>;

/** A ratio for each block: one number stands for a model's or a stage's. */
function ratiosOf(value: unknown, depths: readonly number[]): readonly (readonly number[])[] {
  const stages = Array.isArray(value) ? value : depths.map(() => value);
  return stages.map((stage: unknown, i) => {
    const depth = depths[i] ?? 0;
    const ratios = Array.isArray(stage) ? stage : Array.from({ length: bounded(depth) }, () => stage);
    if (ratios.length < depth || !ratios.every((ratio) => typeof ratio === 'number' && ratio > 0)) {
      throw new UserError(
        `mlp_ratios of stage ${i} must be a number, or one for each of its ${depth} blocks`,
      );
    }
    return ratios as number[];
  });
}
