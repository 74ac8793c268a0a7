import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { bounded } from '../bounded.ts';
import { type ConvOptions, windowAttributes } from './convolution.ts';
import { dimOf, type Layers } from './layers.ts';
import { mixAxes } from './resample.ts';

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

/** Means of nearly equal parts of an axis, as PyTorch's adaptive pools cut it: `[parts, length]`. */
function partMeans(parts: number, length: number): Tensor {
  const data = new Float32Array(bounded(parts * length));
  for (let part = 0; part < parts; part++) {
    const first = Math.floor((part * length) / parts);
    const end = Math.ceil(((part + 1) * length) / parts);
    data.fill(1 / (end - first), part * length + first, part * length + end);
  }
  return Tensor.float32([parts, length], data);
}

/**
 * Mean over windows that make an image of `size`, `[N, C, H, W] -> [N, C, ...size]`. Where the windows are
 * not all alike they are two products, of the rows and of the columns.
 */
export function adaptiveAveragePool(
  layers: Layers,
  x: Value,
  [height, width]: readonly [number, number],
): Value {
  const [rows, columns] = [dimOf(x, 2), dimOf(x, 3)];
  if (rows === height && columns === width) return x;
  if (rows % height === 0 && columns % width === 0) {
    const window = [rows / height, columns / width] as const;
    return averagePool(layers, x, { kernel: window, stride: window });
  }
  return mixAxes(layers, x, partMeans(height, rows), partMeans(width, columns));
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

/** The first `count` tokens, `[N, T, C] -> [N, count, C]`. */
export function leadingTokens(layers: Layers, x: Value, count: number): Value {
  const b = layers.builder;
  return b.op('Slice', [x, b.ints([0]), b.ints([count]), b.ints([1])], {}, 'leading');
}

/** The tokens after the first `count`, `[N, T, C] -> [N, T - count, C]`. */
export function withoutPrefix(layers: Layers, x: Value, count: number): Value {
  if (count === 0) return x;
  const b = layers.builder;
  return b.op('Slice', [x, b.ints([count]), b.ints([Number.MAX_SAFE_INTEGER]), b.ints([1])], {}, 'patches');
}

/** timm's `global_pool` names for tokens that a class token is before, `[N, T, C] -> [N, C]`; '' leaves them. */
export const tokenPools = {
  '': (_layers, x) => x,
  token: (layers, x) => tokenAt(layers, x, 0),
  avg: (layers, x) => meanOver(layers, withoutPrefix(layers, x, 1), [1]),
} satisfies Record<string, (layers: Layers, x: Value) => Value>;
