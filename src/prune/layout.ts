import type { Shape } from '../graph/graph.ts';

/**
 * The labels of one or more axes of a tensor. One axis: a label an index. Several, after a Reshape
 * has boxed an axis (`768 -> 12 x 64`): a label an element of the box, and labels for the outer
 * indices as wholes (the heads). An outer index goes exactly when all its elements go.
 */
export interface Factor {
  /** Ascending positions in the tensor. */
  readonly axes: readonly number[];
  readonly dims: readonly number[];
  /** Row-major over `dims`. */
  readonly labels: Int32Array;
  /** Labels of whole indices, an array an axis; undefined for the inner one. */
  readonly outer: readonly (Int32Array | undefined)[];
  /** Which of `axes` is the inner one, where indices of each outer index are free to differ. */
  readonly inner: number;
}

/** The labelled axes of a tensor. Axes of no factor (batch, tokens, space, length 1) are not channels. */
export type Layout = readonly Factor[];

/** A layout with the lengths of all axes. */
export interface Labelled {
  readonly dims: Shape;
  readonly layout: Layout;
}

/** A factor that must stay a box: equal counts in every kept outer index. */
export type Box = Factor;

export const product = (dims: readonly number[]): number => dims.reduce((p, d) => p * d, 1);

/** How many elements lie between neighbours along each axis, row-major. */
export const stridesOf = (dims: readonly number[]): number[] =>
  dims.map((_, axis) => product(dims.slice(axis + 1)));

/** The factor of one axis. */
export const axisFactor = (axis: number, labels: Int32Array): Factor => ({
  axes: [axis],
  dims: [labels.length],
  labels,
  outer: [undefined],
  inner: 0,
});

/** The factor that holds an axis. */
export const factorOf = (layout: Layout, axis: number): Factor | undefined =>
  layout.find((factor) => factor.axes.includes(axis));

/**
 * Numbers read with other strides than they are stored with: element `(i, j, ...)` of the result, row-major
 * over `dims`, is the one at `i * strides[0] + j * strides[1] + ...`. A stride of 0 repeats.
 */
export function readStrided(
  numbers: ArrayLike<number>,
  dims: readonly number[],
  strides: readonly number[],
): Int32Array {
  const read = new Int32Array(product(dims));
  const steps = stridesOf(dims);
  for (let e = 0; e < read.length; e++) {
    let at = 0;
    for (let i = 0; i < dims.length; i++) at += (Math.floor(e / steps[i]!) % dims[i]!) * strides[i]!;
    read[e] = numbers[at]!;
  }
  return read;
}

/** The strides with which a factor's labels are read along axes of its tensor; 0 along those it has not. */
export function stridesAlong(factor: Pick<Factor, 'axes' | 'dims'>, axes: readonly number[]): number[] {
  const strides = stridesOf(factor.dims);
  return axes.map((axis) => strides[factor.axes.indexOf(axis)] ?? 0);
}

/** A factor's labels at some indices of the axis at `position`. */
export function labelsAt(factor: Factor, position: number, indices: readonly number[]): Int32Array {
  const inner = product(factor.dims.slice(position + 1));
  const length = factor.dims[position]!;
  const outer = factor.labels.length / (inner * length);
  const taken = new Int32Array(outer * indices.length * inner);
  for (let o = 0, at = 0; o < outer; o++) {
    for (const index of indices) {
      const start = (o * length + index) * inner;
      taken.set(factor.labels.subarray(start, start + inner), at);
      at += inner;
    }
  }
  return taken;
}

/** A factor without the axis at `position`, which has become one index long. */
export function dropPosition(factor: Factor, position: number): Factor {
  const rest = <T>(list: readonly T[]) => list.filter((_, i) => i !== position);
  const axes = rest(factor.axes);
  return {
    axes,
    dims: rest(factor.dims),
    labels: factor.labels,
    outer: axes.length === 1 ? [undefined] : rest(factor.outer),
    inner: factor.inner > position ? factor.inner - 1 : factor.inner,
  };
}

/** Factors of the same axes joined along the one at `position`; outer labels are the first one's. */
export function joinFactors(parts: readonly Factor[], position: number): Factor {
  const [first] = parts as [Factor];
  const inner = product(first.dims.slice(position + 1));
  const outer = product(first.dims.slice(0, position));
  const labels: number[] = [];
  for (let o = 0; o < outer; o++) {
    for (const part of parts) {
      const size = part.dims[position]! * inner;
      labels.push(...part.labels.subarray(o * size, (o + 1) * size));
    }
  }
  return {
    ...first,
    dims: first.dims.with(
      position,
      parts.reduce((sum, part) => sum + part.dims[position]!, 0),
    ),
    labels: Int32Array.from(labels),
  };
}

/** Moves axes: axis `i` of the result is axis `perm[i]`. */
export function permute(layout: Layout, perm: readonly number[]): Layout {
  return layout.map((factor) => {
    const places = factor.axes.map((axis) => perm.indexOf(axis));
    const order = places.map((_, i) => i).sort((a, b) => places[a]! - places[b]!);
    const pick = <T>(list: readonly T[]) => order.map((i) => list[i]!);
    const dims = pick(factor.dims);
    const same = order.every((from, to) => from === to);
    return {
      axes: pick(places),
      dims,
      outer: pick(factor.outer as (Int32Array | undefined)[]),
      inner: order.indexOf(factor.inner),
      labels: same ? factor.labels : readStrided(factor.labels, dims, pick(stridesOf(factor.dims))),
    };
  });
}

/** Gives axes new positions; an axis mapped to undefined must not be labelled. */
export function moveAxes(layout: Layout, place: (axis: number) => number | undefined): Layout {
  return layout.map((factor) => ({ ...factor, axes: factor.axes.map((axis) => place(axis)!) }));
}

/** @throws Error when lengths differ that are both known, and neither is 1 */
export function assertBroadcast(a: Pick<Labelled, 'dims'>, b: Pick<Labelled, 'dims'>): void {
  const apart = a.dims.some((dim, i) => {
    const other = b.dims[i];
    return dim !== other && [dim, other].every((length) => length !== 1 && typeof length !== 'string');
  });
  if (apart) throw new Error(`[${a.dims}] and [${b.dims}] do not go together`);
}
