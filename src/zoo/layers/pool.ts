import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { type ConvOptions, windowAttributes } from './convolution.ts';
import type { Layers } from './layers.ts';

type WindowOptions = Pick<ConvOptions, 'kernel' | 'stride' | 'padding'>;

/** Mean over windows, `[N, C, H, W]`; the padding counts as zeros unless `countPadding` is false. */
export function averagePool(
  layers: Layers,
  x: Value,
  {
    countPadding = true,
    ceil = false,
    ...window
  }: WindowOptions & { countPadding?: boolean; ceil?: boolean },
): Value {
  const attributes = {
    ...windowAttributes(x, window),
    ...(countPadding ? { count_include_pad: 1 } : {}),
    ...(ceil ? { ceil_mode: 1 } : {}),
  };
  return layers.builder.op('AveragePool', [x], attributes, 'average_pool');
}

/** Maximum over windows, `[N, C, H, W]`. */
export function maxPool(layers: Layers, x: Value, window: WindowOptions): Value {
  return layers.builder.op('MaxPool', [x], windowAttributes(x, window), 'max_pool');
}

/** Mean of axes, which go. */
export const meanOver = (layers: Layers, x: Value, axes: readonly number[]): Value =>
  layers.builder.op('ReduceMean', [x, layers.builder.ints(axes)], { keepdims: 0 }, 'mean');

/** Maximum of axes, which go. */
export const maxOver = (layers: Layers, x: Value, axes: readonly number[]): Value =>
  layers.builder.op('ReduceMax', [x, layers.builder.ints(axes)], { keepdims: 0 }, 'max');

function averageAndMax(layers: Layers, x: Value, axes: readonly number[]): Value {
  const b = layers.builder;
  const sum = b.op('Add', [maxOver(layers, x, axes), meanOver(layers, x, axes)], {}, 'max_and_mean');
  return b.op('Mul', [sum, b.scalar(0.5)], {}, 'avgmax');
}

type Reduction = (layers: Layers, x: Value, axes: readonly number[]) => Value;

/** timm's `global_pool` names for pools that reduce the positions, to `[N, C]`; '' leaves them. */
export const globalPools = {
  '': (_layers, x) => x,
  avg: meanOver,
  max: maxOver,
  avgmax: averageAndMax,
} satisfies Record<string, Reduction>;

export type GlobalPoolName = keyof typeof globalPools;

/** One token, `[N, T, C] -> [N, C]`. */
export const tokenAt = (layers: Layers, x: Value, index: number): Value =>
  layers.builder.op('Gather', [x, Tensor.scalar(index, 'int64')], { axis: 1 }, 'token');

/** The tokens after the first `count`, `[N, T, C] -> [N, T - count, C]`. */
export function withoutPrefix(layers: Layers, x: Value, count: number): Value {
  if (count === 0) return x;
  const b = layers.builder;
  return b.op('Slice', [x, b.ints([count]), b.ints([Number.MAX_SAFE_INTEGER]), b.ints([1])], {}, 'patches');
}
