import { normalizeAxis } from '../dim.ts';
import type { Node, Shape, Value } from '../types.ts';
import { isComputed } from './arguments.ts';
import type { OpArguments } from './signature.ts';

/** Since this operator set Softmax and its kin work along one axis; before, on all from it to the last. */
export const softmaxAlongOneAxis = 13;

type SoftmaxLike = OpArguments['Softmax' | 'LogSoftmax' | 'Hardmax'];

/** The axes that a Softmax, LogSoftmax or Hardmax works along, jointly. */
export function softmaxAxes(node: Node, { axis }: SoftmaxLike, rank: number): number[] {
  const first = axis === rank && node.opset < softmaxAlongOneAxis ? rank : normalizeAxis(axis, rank);
  return node.opset < softmaxAlongOneAxis ? range(first, rank) : [first];
}

/** The axes that a normalization works along: all from `axis` to the last. */
export const trailingAxes = ({ axis }: { readonly axis: number }, rank: number): number[] =>
  range(normalizeAxis(axis, rank), rank);

/** Axes counted from the front; undefined when they are computed. */
export function axesOf<T extends readonly number[] | Value | undefined>(
  axes: T,
  rank: number,
): number[] | undefined {
  if (axes === undefined || isComputed(axes)) return undefined;
  return axes.map((axis) => normalizeAxis(axis, rank));
}

/** The axes that a reduction reduces, all where none is named; undefined when they are computed. */
export function reducedAxes(
  { axes, noop_with_empty_axes }: OpArguments['ReduceSum'],
  rank: number,
): number[] | undefined {
  if (axes !== undefined && isComputed(axes)) return undefined;
  if (axes?.length) return axesOf(axes, rank);
  return noop_with_empty_axes === 1 ? [] : range(0, rank);
}

/** The axes that a Squeeze takes away, those of length 1 where none is named; undefined when they are computed. */
export function squeezedAxes({ axes }: OpArguments['Squeeze'], shape: Shape): number[] | undefined {
  if (axes === undefined) return [...shape.keys()].filter((axis) => shape[axis] === 1);
  return axesOf(axes, shape.length);
}

/** Where each axis of a Transpose's result comes from. */
export const permutationOf = ({ perm }: OpArguments['Transpose'], rank: number): readonly number[] =>
  perm ?? range(0, rank).reverse();

/** Where a Flatten cuts: axes before it become the first, the others the second. */
export const flattenedAt = ({ axis }: OpArguments['Flatten'], rank: number): number =>
  axis < 0 ? axis + rank : axis;

const range = (start: number, end: number): number[] =>
  Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i);
