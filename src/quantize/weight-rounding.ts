import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { leastScale } from './activation.ts';
import type { Granularity, Numbers } from './backends.ts';
import { isLinear, type Layer } from './layer.ts';
import { pairBound, WeightPairs, withinInt8 } from './weight-pairs.ts';

export interface WeightRounding {
  /** One scale for each output channel, or one for the whole matrix. */
  readonly granularity: Granularity;
  /** Whether neighbours that are multiplied as a pair keep within `pairBound`; for scales of channels. */
  readonly bounded: boolean;
  /** Each number keeps within half of `pairBound`, whichever two are multiplied as a pair. */
  readonly halved?: boolean;
  /** Scales don't go below this, so that all-zero channels divide by something; default PyTorch's, float32 epsilon. */
  readonly smallestScale?: number;
}

/**
 * How the weight of a layer is rounded. Kernels of convolutions pair channels or places, as they lie; so each number keeps
 * within half of what a pair may be. Nothing overflows where only the weight is stored. A factor for each channel (layer scale,
 * 1e-5 before training) may have made a filter smaller than PyTorch's smallest scale.
 */
export function roundingOf(
  layer: Layer,
  { granularity, bounded }: Numbers,
  onIntegers: boolean,
): WeightRounding {
  if (isLinear(layer)) return { granularity, bounded };
  return {
    granularity: 'channel',
    bounded: false,
    halved: bounded && onIntegers,
    smallestScale: leastScale,
  };
}

/** `columns ~ integers * scale`. */
export interface RoundedWeight {
  /** float32 `[in, out]`, whole numbers from -128 to 127. */
  readonly integers: Value;
  /** float32 `[out]`, or a scalar for the whole matrix. */
  readonly scale: Value;
}

/** A weight as `[in, out]`, and that shape; all that a filter of a convolution, or a row of a table, holds is `in`. */
export function columnsOf(
  b: Builder,
  weight: Value,
  layout: Layer['layout'],
): readonly [Value, readonly [number, number]] {
  const [first, ...rest] = weight.staticShape as [number, number, ...number[]];
  if (layout === 'in,out') return [weight, [first, rest[0]!]];
  const size = elementCount(rest);
  const rows = rest.length === 1 ? weight : b.op('Reshape', [weight, Tensor.int64([first, size])]);
  return [b.op('Transpose', [rows], { perm: [1, 0] }), [size, first]];
}

/** `[in, out]` as a layer of that layout reads it in int8: filters and rows as they were, matrices as they are. */
export function fromColumns(
  b: Builder,
  columns: Value,
  { weight, layout }: Pick<Layer, 'weight' | 'layout'>,
): Value {
  if (layout !== 'out,in,window' && layout !== 'rows') return columns;
  return b.op('Reshape', [
    b.op('Transpose', [columns], { perm: [1, 0] }),
    Tensor.int64([...weight.staticShape]),
  ]);
}

/**
 * Rounds a weight symmetrically to what int8 holds.
 *
 * Plain: with m = max |w| over an output channel (or all), scale = max(m / 127.5, 2^-23),
 * q = clip(round(w * (1 / scale)), -128, 127), rounding half to even and every step in float32. These are
 * the numbers of PyTorch's PerChannelMinMaxObserver and MinMaxObserver with `qint8` and a symmetric scheme.
 *
 * Bounded: a channel's scale grows until no pair exceeds `pairBound` before rounding; where both
 * neighbours are rounded away from zero, the one that moved more goes back by one. (Cutting the few largest
 * pairs of a channel instead, at the scale of least squared error, gains 1 % of the error of normal weights.)
 *
 * Halved: scale = max(m / 64, 2^-23), so that no number exceeds half of `pairBound`.
 *
 * @param columns `[in, out]`
 */
export function roundWeight(
  b: Builder,
  columns: Value,
  shape: readonly [number, number],
  { granularity, bounded, halved, smallestScale = 2 ** -23 }: WeightRounding,
): RoundedWeight {
  const axes = Tensor.int64(granularity === 'channel' ? [0] : [0, 1]);
  const largest = b.op('ReduceMax', [b.op('Abs', [columns]), axes], { keepdims: 0 });
  const plain = b.op('Max', [
    b.op('Div', [largest, b.scalar(halved ? pairBound / 2 : 127.5)]),
    b.scalar(smallestScale),
  ]);
  if (!bounded) return { integers: b.op('Round', [withinInt8(b, columns, plain)]), scale: plain };
  const pairs = new WeightPairs(b, columns, shape);
  const scale = pairs.scale(plain);
  return { integers: pairs.round(scale), scale };
}
