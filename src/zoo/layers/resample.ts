import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { type Interpolation, interpolations } from '../interpolation.ts';
import { dimOf, type Layers } from './layers.ts';

/** The matrix that resamples an axis, `[length, from]`. */
const matrix = (length: number, from: number, mode: Interpolation): Tensor =>
  Tensor.float32([length, from], Float32Array.from(interpolations[mode](from, length).flat()));

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
  mode: Interpolation,
): Value {
  const [rows, columns] = [dimOf(x, 2), dimOf(x, 3)];
  if (rows === height && columns === width) return x;
  return mixAxes(layers, x, matrix(height, rows, mode), matrix(width, columns, mode));
}
