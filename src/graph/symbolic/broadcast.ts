import type { DataType } from '../tensor.ts';
import type { Element, Elements } from './elements.ts';

/** As the engine rounds it. */
export const rounded = (value: Element, dtype: DataType): Element => {
  if (typeof value !== 'number' || !Number.isFinite(value))
    return typeof value === 'string' ? value : undefined;
  return dtype === 'float32' ? Math.fround(value) : value;
};

/** What two shapes broadcast to; undefined where they don't. */
export const shapes = (a: readonly number[], b: readonly number[]): number[] | undefined => {
  const rank = Math.max(a.length, b.length);
  const result: number[] = [];
  for (let i = 0; i < rank; i++) {
    const [x, y] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    if (x !== y && x !== 1 && y !== 1) return undefined;
    result.push(x === 1 ? y : x);
  }
  return result;
};

/** Where the element at a place of a broadcast shape comes from. */
export function source(shape: readonly number[], result: readonly number[], place: number): number {
  let rest = place;
  let index = 0;
  let stride = 1;
  for (let axis = result.length - 1; axis >= 0; axis--) {
    const at = rest % result[axis]!;
    rest = Math.floor(rest / result[axis]!);
    const own = axis - result.length + shape.length;
    if (own < 0) continue;
    if (shape[own] !== 1) index += at * stride;
    stride *= shape[own]!;
  }
  return index;
}

/** One result. */
export const made = (
  shape: readonly number[],
  values: readonly Element[],
  dtype: DataType,
): readonly Elements[] => [{ shape, values, dtype }];
