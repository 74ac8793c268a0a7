import type { DataType } from '../tensor.ts';
import type { Dim, Value } from '../types.ts';

/** One element: a number (a truth value is 0 or 1), an axis length, or undefined where it is not known. */
export type Element = Dim | undefined;

/** What is known of a tensor of few elements, beforehand: lengths, axes, indices, scales. Row-major. */
export interface Elements {
  readonly shape: readonly number[];
  readonly values: readonly Element[];
  readonly dtype: DataType;
}

/** Larger tensors are no shape arithmetic, and left to the engine. */
export const elementLimit = 4096;

/** The elements of a constant; undefined where it is too large or no plain numbers. */
export function elementsOf({ tensor }: Value): Elements | undefined {
  if (!tensor || tensor.size > elementLimit || !isPlain(tensor.dtype)) return undefined;
  const values = Array.from(tensor.data as ArrayLike<number | bigint>, Number);
  return { shape: tensor.shape, values, dtype: tensor.dtype };
}

/** Types whose elements JavaScript has as numbers. */
export const isPlain = (dtype: DataType | undefined): dtype is DataType =>
  dtype !== undefined && /^(float32|float64|bool|u?int(8|16|32|64))$/.test(dtype);

export const isFloat = (dtype: DataType | undefined): boolean => dtype === 'float32' || dtype === 'float64';

/** Are all elements numbers? */
export const areNumbers = ({ values }: Elements): boolean =>
  values.every((value) => typeof value === 'number');
