import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { dimOf, type Layers } from './layers.ts';

/** Weights of the neighbours of a place between pixels, by their offset from the pixel before it. */
type Kernel = (fraction: number) => readonly (readonly [offset: number, weight: number])[];

const bilinear: Kernel = (t) => [
  [0, 1 - t],
  [1, t],
];

/** Cubic convolution by the distance from a pixel; `a` is its slope at the neighbouring one. */
const cubic = (a: number, distance: number): number => {
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
};

/** With a = -0.75, as PyTorch. */
const bicubic: Kernel = (t) => [-1, 0, 1, 2].map((offset) => [offset, cubic(-0.75, t - offset)] as const);

/** Where in an axis of `from` pixels the pixel `i` of `length` lies. */
type Place = (i: number, length: number, from: number) => number;

const middles: Place = (i, length, from) => ((i + 0.5) * from) / length - 0.5;

/** The first pixels in one place, and the last. */
const corners: Place = (i, length, from) => (length > 1 ? (i * (from - 1)) / (length - 1) : 0);

/** What the pixel `i` of `length` is made of: pixels of an axis of `from`, and how much of each. */
type Mixture = (
  i: number,
  length: number,
  from: number,
) => readonly (readonly [index: number, weight: number])[];

/** By the neighbours of its place; pixels repeat past an edge. */
const between =
  (kernel: Kernel, placeOf: Place): Mixture =>
  (i, length, from) => {
    const place = placeOf(i, length, from);
    const before = Math.floor(place);
    return kernel(place - before).map(([offset, weight]) => [
      Math.min(Math.max(before + offset, 0), from - 1),
      weight,
    ]);
  };

/** As Pillow: a = -0.5, pixels past an edge do not count, and more are seen where an image gets smaller. */
const antialiased: Mixture = (i, length, from) => {
  const ratio = from / length;
  const reach = Math.max(ratio, 1);
  const center = ratio * (i + 0.5);
  const first = Math.max(Math.trunc(center - 2 * reach + 0.5), 0);
  const end = Math.min(Math.trunc(center + 2 * reach + 0.5), from);
  const weights = Array.from({ length: end - first }, (_, j) =>
    cubic(-0.5, (first + j - center + 0.5) / reach),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight, j) => [first + j, weight / sum]);
};

const modes = {
  bilinear: between(bilinear, (...at) => Math.max(middles(...at), 0)),
  bilinearCorners: between(bilinear, corners),
  bicubic: between(bicubic, middles),
  bicubicAntialias: antialiased,
} satisfies Record<string, Mixture>;

/** The matrix that resamples an axis, `[length, from]`. */
function matrix(length: number, from: number, mode: keyof typeof modes): Tensor {
  const data = new Float32Array(length * from);
  for (let i = 0; i < length; i++) {
    for (const [index, weight] of modes[mode](i, length, from)) data[i * from + index]! += weight;
  }
  return Tensor.float32([length, from], data);
}

/** Rows and columns of an image `[N, C, H, W]` mixed, each by a constant matrix `[new, old]`: two products. */
export function mixAxes(layers: Layers, x: Value, rows: Tensor, columns: Tensor): Value {
  const b = layers.builder;
  const byRow = b.op('MatMul', [layers.constant('row_mix', rows), x], {}, 'rows_mixed');
  const transposed = b.op(
    'Transpose',
    [layers.constant('column_mix', columns)],
    { perm: [1, 0] },
    'column_mix_t',
  );
  return b.op('MatMul', [byRow, transposed], {}, 'mixed');
}

/**
 * PyTorch's `interpolate` to `size`, `[N, C, H, W] -> [N, C, ...size]`; without `align_corners` but for
 * `bilinearCorners`.
 */
export function resample(
  layers: Layers,
  x: Value,
  [height, width]: readonly [number, number],
  mode: keyof typeof modes,
): Value {
  const [rows, columns] = [dimOf(x, 2), dimOf(x, 3)];
  if (rows === height && columns === width) return x;
  return mixAxes(layers, x, matrix(height, rows, mode), matrix(width, columns, mode));
}
