import { type AttributeInput, float } from '../../graph/attribute.ts';
import type { Value } from '../../graph/graph.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { Interpolation } from '../interpolation.ts';
import { dimOf, type Layers } from './layers.ts';

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

/** PyTorch's ways to interpolate, in the words of ONNX's Resize. */
const attributes: Record<Interpolation, Record<string, AttributeInput>> = {
  bilinear: { mode: 'linear', coordinate_transformation_mode: 'half_pixel' },
  bilinearCorners: { mode: 'linear', coordinate_transformation_mode: 'align_corners' },
  bicubic: { mode: 'cubic', coordinate_transformation_mode: 'half_pixel', cubic_coeff_a: float(-0.75) },
  bicubicSmooth: {
    mode: 'cubic',
    coordinate_transformation_mode: 'half_pixel',
    cubic_coeff_a: float(-0.5),
    antialias: 1,
    exclude_outside: 1,
  },
};

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
  if (dimOf(x, 2) === height && dimOf(x, 3) === width) return x;
  const b = layers.builder;
  const sizes = b.ints([height, width]);
  return b.op('Resize', [x, undefined, undefined, sizes], { axes: [2, 3], ...attributes[mode] }, 'resized');
}
