import { UserError } from '../../../common/errors.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import type { ActivationName } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

const known = 'img_size in_chans num_classes widths depths head_dim global_pool head_widths';

/** Where timm's two classes differ: their own argument, and its default. */
const own = {
  EfficientVit: { argument: 'expand_ratio', value: 4, activation: 'hardswish' },
  EfficientVitLarge: { argument: 'norm_eps', value: 1e-7, activation: 'gelutanh' },
} as const satisfies Record<string, { argument: string; value: number; activation: ActivationName }>;
export type EfficientVitClass = keyof typeof own;

/**
 * The arguments of timm's EfficientVit and EfficientVitLarge under timm's names, checked and resolved.
 * @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses
 */
export function efficientVitArgs(kind: EfficientVitClass, args: ModelArgs) {
  const { argument, value, activation } = own[kind];
  const read = readArguments(args, [...known.split(' '), argument], ['drop_rate']);
  const number = read.number(argument, value);
  const widths = read.integers('widths', []);
  const depths = read.integers('depths', [], 0);
  const head_widths = read.integers('head_widths', []);
  checkStages({ widths, depths });
  if (head_widths.length !== 2) throw new UserError(`head_widths must be two numbers, not ${head_widths}`);
  const large = kind === 'EfficientVitLarge';
  return {
    large,
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    widths,
    depths,
    head_dim: read.integer('head_dim', 32, 1),
    expand_ratio: large ? undefined : number,
    /** Of BatchNorms, and of the LayerNorm of the head. */
    norm_eps: large ? { batch: number, layer: number } : { batch: 1e-5, layer: 1e-5 },
    activation: activation as ActivationName,
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    head_widths: head_widths as readonly [number, number],
  };
}
export type EfficientVitArgs = ReturnType<typeof efficientVitArgs>;
