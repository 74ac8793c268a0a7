import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { dimOf, type Layers } from './layers.ts';

/** Weights of the neighbours of a place between pixels, by their offset from the pixel before it. */
type Kernel = (fraction: number) => readonly (readonly [offset: number, weight: number])[];

const bilinear: Kernel = (t) => [
  [0, 1 - t],
  [1, t],
];

/** Cubic convolution with a = -0.75, as PyTorch. */
const bicubic: Kernel = (t) => {
  const a = -0.75;
  const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1;
  const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return [
    [-1, far(t + 1)],
    [0, near(t)],
    [1, near(1 - t)],
    [2, far(2 - t)],
  ];
};

/** Where in an axis of `from` pixels the pixel `i` of `length` lies. */
type Place = (i: number, length: number, from: number) => number;

const middles: Place = (i, length, from) => ((i + 0.5) * from) / length - 0.5;

/** The first pixels in one place, and the last. */
const corners: Place = (i, length, from) => (length > 1 ? (i * (from - 1)) / (length - 1) : 0);

const modes = {
  bilinear: { kernel: bilinear, place: (...at: Parameters<Place>) => Math.max(middles(...at), 0) },
  bilinearCorners: { kernel: bilinear, place: corners },
  bicubic: { kernel: bicubic, place: middles },
} satisfies Record<string, { kernel: Kernel; place: Place }>;

/** The matrix that resamples an axis, `[length, from]`; pixels repeat past an edge. */
function matrix(length: number, from: number, mode: keyof typeof modes): Tensor {
  const { kernel, place: placeOf } = modes[mode];
  const data = new Float32Array(length * from);
  for (let i = 0; i < length; i++) {
    const place = placeOf(i, length, from);
    const before = Math.floor(place);
    for (const [offset, weight] of kernel(place - before)) {
      const index = Math.min(Math.max(before + offset, 0), from - 1);
      data[i * from + index]! += weight;
    }
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
