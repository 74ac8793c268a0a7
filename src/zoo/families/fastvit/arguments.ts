import { UserError } from '../../../common/errors.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { activationName, layerArgument } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

const known =
  'img_size in_chans num_classes global_pool layers token_mixers embed_dims mlp_ratios downsamples se_downsamples repmixer_kernel_size pos_embs down_patch_size down_stride layer_scale_init_value lkc_use_act stem_use_scale_branch cls_ratio norm_layer act_layer';
const withoutEffect = 'drop_rate proj_drop_rate drop_path_rate';

/**
 * The arguments of timm's FastVit under timm's names, checked and resolved.
 * @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses
 */
export function fastVitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const listOf = <T>(
    name: string,
    fallback: readonly T[],
    right: (value: unknown) => boolean,
  ): readonly T[] => {
    const value = args[name] ?? fallback;
    if (!Array.isArray(value) || !value.every(right)) {
      throw new UserError(
        `model argument ${name} is ${JSON.stringify(value)}; it must be a list, one a stage`,
      );
    }
    return value as readonly T[];
  };
  const flags = (name: string, fallback: readonly boolean[]) =>
    listOf(name, fallback, (value) => typeof value === 'boolean');
  const layers = read.integers('layers', [2, 2, 6, 2], 0);
  const embed_dims = read.integers('embed_dims', [64, 128, 256, 512]);
  const resolved = {
    img_size: read.pair('img_size', 256),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    layers,
    embed_dims,
    token_mixers: listOf(
      'token_mixers',
      layers.map(() => 'repmixer'),
      (value) => ['repmixer', 'attention'].includes(value as string),
    ),
    mlp_ratios: read.perStage(
      'mlp_ratios',
      layers.map(() => 4),
    ),
    downsamples: flags('downsamples', [false, true, true, true]),
    se_downsamples: flags('se_downsamples', [false, false, false, false]),
    repmixer_kernel_size: read.integer('repmixer_kernel_size', 3, 1),
    pos_kernels: positionKernels(
      listOf(
        'pos_embs',
        layers.map(() => null),
        () => true,
      ),
    ),
    down_patch_size: read.integer('down_patch_size', 7, 3),
    down_stride: read.integer('down_stride', 2, 1),
    layer_scale: read.number('layer_scale_init_value', 1e-5),
    lkc_use_act: read.boolean('lkc_use_act', false),
    stem_use_scale_branch: read.boolean('stem_use_scale_branch', true),
    cls_ratio: read.number('cls_ratio', 2),
    layer_norm: normIsLayerNorm(args.norm_layer),
    activation: activationName('act_layer', args.act_layer),
  };
  const { token_mixers, mlp_ratios, downsamples, se_downsamples, pos_kernels } = resolved;
  checkStages({
    layers,
    embed_dims,
    token_mixers,
    mlp_ratios,
    downsamples,
    se_downsamples,
    pos_embs: pos_kernels,
  });
  const stage = token_mixers.findIndex((mixer, i) => mixer === 'attention' && embed_dims[i]! % 32 !== 0);
  if (stage >= 0) throw new UserError(`${embed_dims[stage]} channels of stage ${stage} make no heads of 32`);
  return resolved;
}
export type FastVitArgs = ReturnType<typeof fastVitArgs>;

/** Sizes of the convolutions that tell positions; undefined where a stage has none. */
const positionKernels = (layers: readonly unknown[]) =>
  layers.map((layer) => {
    if (layer === null || layer === undefined) return undefined;
    const { name, kwargs } = layerArgument('pos_embs', layer);
    const shape = kwargs.spatial_shape ?? [7, 7];
    if (name !== 'RepConditionalPosEnc') throw new UserError(`pos_embs: "${name}" is not supported`);
    return (typeof shape === 'number' ? [shape, shape] : shape) as readonly [number, number];
  });

/** Norm before attention: BatchNorm, or LayerNorm over the channels, of which timm's epsilon is 1e-5. */
function normIsLayerNorm(value: unknown): boolean {
  if (value === undefined || value === null) return false;
  const { name, kwargs } = layerArgument('norm_layer', value);
  if (name === 'BatchNorm2d') return false;
  if (name === 'LayerNorm2d' && kwargs.eps === 1e-5) return true;
  throw new UserError(`norm_layer "${name}" is not supported; use BatchNorm2d, or LayerNorm2d with eps 1e-5`);
}
