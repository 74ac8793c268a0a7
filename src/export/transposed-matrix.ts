import { Tensor, type TypedArray } from '../graph/tensor.ts';

/** A matrix with its axes swapped, when it is read; in square tiles that stay in the cache. */
export function transposedMatrix(matrix: Tensor): Tensor {
  const [rows, columns] = matrix.shape as [number, number];
  const tile = 64;
  return new Tensor(matrix.dtype, [columns, rows], () => {
    const from = matrix.data as Int8Array;
    const to = new (from.constructor as new (length: number) => TypedArray)(from.length) as Int8Array;
    for (let top = 0; top < rows; top += tile) {
      const bottom = Math.min(top + tile, rows);
      for (let left = 0; left < columns; left += tile) {
        const right = Math.min(left + tile, columns);
        for (let c = left; c < right; c++) {
          for (let r = top; r < bottom; r++) to[c * rows + r] = from[r * columns + c]!;
        }
      }
    }
    matrix.release();
    return to;
  });
}
