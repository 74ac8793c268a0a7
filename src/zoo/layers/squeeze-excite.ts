import type { Value } from '../../graph/graph.ts';
import { type ConvOptions, conv } from './convolution.ts';
import type { ActivationName } from './layer-spec.ts';
import { dimOf, type Layers } from './layers.ts';
import { makeDivisible } from './widths.ts';

export interface SqueezeExciteOptions {
  /** Channels in the middle. */
  reduced: number;
  activation?: ActivationName;
  gate?: ActivationName;
  /** Names of the two 1x1 convolutions: timm's `SEModule` has fc1 and fc2, its `SqueezeExcite` others. */
  names?: readonly [reduce: string, expand: string];
  bias?: boolean;
  /** How a convolution of so many inputs and outputs starts. */
  start?(inputs: number, outputs: number): Pick<ConvOptions, 'weightInitializer' | 'biasInitializer'>;
}

/** Channels in the middle where timm's `SEModule` is given a part of them. */
export const reducedChannels = (channels: number, ratio: number): number =>
  makeDivisible(channels * ratio, 8, 0);

/** Channels weighed by what the whole image says ("Squeeze-and-Excitation Networks", arXiv 1709.01507). */
export function squeezeExcite(layers: Layers, name: string, x: Value, options: SqueezeExciteOptions): Value {
  const {
    reduced,
    activation = 'relu',
    gate = 'sigmoid',
    names = ['fc1', 'fc2'],
    bias = true,
    start,
  } = options;
  const b = layers.builder;
  const pointwise = (part: string, input: Value, channels: number) =>
    conv(layers, part, input, channels, { kernel: 1, bias, ...start?.(dimOf(input, 1), channels) });
  return layers.scope(name, () => {
    const mean = b.op('ReduceMean', [x, b.ints([2, 3])], { keepdims: 1 }, 'mean');
    const squeezed = pointwise(names[0], mean, reduced);
    const active = layers.activation(squeezed, activation);
    const expanded = pointwise(names[1], active, dimOf(x, 1));
    const weights = layers.scope('gate', () => layers.activation(expanded, gate));
    return b.op('Mul', [x, weights], {}, 'excited');
  });
}
