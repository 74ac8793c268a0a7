import { toFloat32 } from '../checkpoint/to-float32.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { interpolations, type Weights } from './interpolation.ts';

export type Size = readonly [rows: number, columns: number];

/**
 * A table of positions, by what is needed to have it for another image size. `grid` is one of positions, `[1, prefix +
 * rows x columns, C]`; `offsets` one of the offsets in a window, `[(2 rows - 1) x (2 columns - 1) + extra, heads]`;
 * `distances` one of the distances along an axis, `[distances, C]`.
 */
export type Positions =
  | { readonly kind: 'grid'; readonly size: Size; readonly prefix: number }
  | { readonly kind: 'offsets'; readonly window: Size }
  | { readonly kind: 'distances' };

/** Whose way of resampling a grid of positions: timm smooths, transformers does not. */
export type ResampleStyle = 'timm' | 'transformers';

export interface Resampled {
  readonly tensor: Tensor;
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/**
 * A table of positions for another size, as timm resamples it when it loads a checkpoint; what it was made for is
 * taken to be square, as timm does. Tables are small (some hundred rows), so no engine is asked.
 * @param tensor as the checkpoint has it
 * @param shape as the model wants it
 * @returns nothing when no size explains the difference of the shapes
 */
export function resampledPositions(
  name: string,
  tensor: Tensor,
  shape: readonly number[],
  positions: Positions,
  style: ResampleStyle,
): Resampled | undefined {
  if (positions.kind === 'distances') return resampledDistances(name, tensor, shape);
  const axis = positions.kind === 'grid' ? 1 : 0;
  const width = shape[axis + 1]!;
  const to = positions.kind === 'grid' ? positions.size : doubled(positions.window);
  const apart = positions.kind === 'grid' ? positions.prefix : shape[axis]! - elementCount(to);
  const edge = Math.sqrt((tensor.shape[axis] ?? 0) - apart);
  const fits = tensor.shape.length === shape.length && tensor.shape[axis + 1] === width;
  const whole = [edge, ...to].every((length) => Number.isInteger(length) && length > 0);
  if (!fits || !whole) return undefined;
  const from: Size = [edge, edge];
  const weights = positions.kind === 'grid' ? gridWeights[style] : geometricWeights;
  const source = toFloat32(name, tensor);
  return {
    from,
    to,
    tensor: new Tensor('float32', shape, () => {
      const table = source.floats;
      const before = positions.kind === 'grid' ? apart * width : 0;
      const end = before + elementCount(from) * width;
      const result = new Float32Array(elementCount(shape));
      result.set(table.subarray(0, before));
      const inner = resampledGrid(table.subarray(before, end), from, to, width, weights);
      result.set(inner, before);
      result.set(table.subarray(end), before + inner.length);
      return result;
    }),
  };
}

function resampledDistances(name: string, tensor: Tensor, shape: readonly number[]): Resampled | undefined {
  const [from, width] = tensor.shape;
  if (tensor.shape.length !== 2 || !from || width !== shape[1]) return undefined;
  const source = toFloat32(name, tensor);
  const resampled = () => mixed(source.floats, interpolations.bilinear(from, shape[0]!), 1, width!);
  return { from: [from], to: [shape[0]!], tensor: new Tensor('float32', shape, resampled) };
}

const doubled = ([rows, columns]: Size): Size => [2 * rows - 1, 2 * columns - 1];

/** Rows, then columns, of a grid `[rows, columns, width]`. */
function resampledGrid(
  grid: Float32Array,
  from: Size,
  to: Size,
  width: number,
  weights: Weights,
): Float32Array {
  const tall = mixed(grid, weights(from[0], to[0]), 1, from[1] * width);
  return mixed(tall, weights(from[1], to[1]), to[0], width);
}

/** `[outer, from, inner] -> [outer, to, inner]`, each new row a sum of old ones. */
function mixed(data: Float32Array, weights: readonly number[][], outer: number, inner: number): Float32Array {
  const from = weights[0]!.length;
  const result = new Float32Array(outer * weights.length * inner);
  for (let o = 0; o < outer; o++) {
    weights.forEach((row, to) => {
      const target = result.subarray(
        (o * weights.length + to) * inner,
        (o * weights.length + to + 1) * inner,
      );
      row.forEach((weight, i) => {
        if (weight === 0) return;
        const start = (o * from + i) * inner;
        for (let c = 0; c < inner; c++) target[c]! += weight * data[start + c]!;
      });
    });
  }
  return result;
}

const gridWeights: Record<ResampleStyle, Weights> = {
  timm: interpolations.bicubicSmooth,
  transformers: interpolations.bicubic,
};

/**
 * Offsets of the old window lie at 0, 1, 1 + q, 1 + q + q^2..., so that the outermost ones meet those of the new;
 * between them timm interpolates linearly (after BEiT, arXiv 2106.08254).
 */
const geometricWeights: Weights = (from, to) => {
  const half = Math.floor(from / 2);
  let [low, high, ratio] = [1.01, 1.5, 1.255];
  while (high - low > 1e-6) {
    ratio = (low + high) / 2;
    const reach = (1 - ratio ** half) / (1 - ratio);
    if (reach > Math.floor(to / 2)) high = ratio;
    else low = ratio;
  }
  const distances: number[] = [];
  for (let i = 0, at = 1; i < half; i++) {
    distances.push(at);
    at += ratio ** (i + 1);
  }
  const places = [...distances.map((x) => -x).reverse(), 0, ...distances];
  return Array.from({ length: to }, (_, i) => linearRow(places, i - Math.floor(to / 2)));
};

/** Weights of the two places around `x`; beyond the ends, the end. */
function linearRow(places: readonly number[], x: number): number[] {
  const row = places.map(() => 0);
  const found = places.findIndex((place) => place >= x);
  const right = found < 0 ? places.length - 1 : found;
  const left = Math.max(right - 1, 0);
  const [before, after] = [x - places[left]!, places[right]! - x].map((d) => Math.max(d, 0));
  const sum = before! + after!;
  if (sum === 0) row[right] = 1;
  else {
    row[left]! += after! / sum;
    row[right]! += before! / sum;
  }
  return row;
}
