import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import { normalizeAxis } from '../graph/dim.ts';
import type { Node, Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { product } from './product.ts';
import { reshaped } from './reduction.ts';
import {
  type GradientRule,
  lengthsOf,
  number,
  reshapeLike,
  shapeOf,
  single,
  sumTo,
  zerosLike,
} from './rule.ts';

function constantInts(node: Node, index: number): number[] | undefined {
  const input = node.inputs[index];
  if (!input) return undefined;
  if (!input.tensor) throw new UserError(`${node.label}: no gradient where input ${index} is computed`);
  return input.tensor.integers;
}

/** `g` with zeros before and after it along `axis`, so that the axis becomes `length` long. */
function padAxis(b: Builder, g: Value, axis: number, before: number, length: number): Value {
  const rank = shapeOf(g).length;
  const [own] = lengthsOf(g, [axis]);
  const pads = new Array<number>(2 * rank).fill(0);
  pads[axis] = before;
  pads[axis + rank] = length - before - own!;
  if (pads.every((pad) => pad === 0)) return g;
  return b.op('Pad', [g, b.ints(pads), number(b, 0, g)]);
}

const split: GradientRule = (node, gradients, { builder: b }) => {
  const axis = normalizeAxis(node.int('axis', 0), shapeOf(node.input(0)).length);
  const parts = node.outputs.map((output, i) => gradients[i] ?? zerosLike(b, output!));
  return [b.op('Concat', parts, { axis })];
};

const concat: GradientRule = single((node, g, { builder: b, wants }) => {
  const axis = normalizeAxis(node.int('axis'), shapeOf(g).length);
  const lengths = node.inputs.map((input) => lengthsOf(input!, [axis])[0]!);
  const wanted = node.inputs.filter((_, i) => wants(i)).length;
  if (wanted > 1 && wanted === node.inputs.length) {
    return b.node('Split', [g, b.ints(lengths)], { axis }, lengths.length).outputs;
  }
  let start = 0;
  return lengths.map((length, i) => {
    const from = start;
    start += length;
    if (!wants(i)) return undefined;
    return b.op('Slice', [g, b.ints([from]), b.ints([start]), b.ints([axis]), b.ints([1])]);
  });
});

const slice: GradientRule = single((node, g, { builder: b }) => {
  const x = node.input(0);
  const rank = shapeOf(x).length;
  const starts = constantInts(node, 1)!;
  const axes = (constantInts(node, 3) ?? starts.map((_, i) => i)).map((axis) => normalizeAxis(axis, rank));
  const steps = constantInts(node, 4) ?? starts.map(() => 1);
  const lengths = lengthsOf(x, axes);
  return [
    axes.reduce((gradient, axis, i) => {
      const length = lengths[i]!;
      const start = Math.min(Math.max(starts[i]! < 0 ? starts[i]! + length : starts[i]!, 0), length);
      if (steps[i] === 1) return padAxis(b, gradient, axis, start, length);
      const [count] = lengthsOf(gradient, [axis]);
      const first = steps[i]! < 0 ? Math.min(start, length - 1) : start;
      const indices = Array.from({ length: count! }, (_, k) => first + k * steps[i]!);
      return scatterAxis(b, gradient, axis, b.ints(indices), length);
    }, g),
  ];
});

/**
 * Adds the slices of `g` along `axis` into the places `indices` (one-dimensional) of an axis of `length`:
 * a product with a one-hot matrix, which sums repeated indices in a fixed order.
 */
function scatterAxis(b: Builder, g: Value, axis: number, indices: Value, length: number): Value {
  const rank = shapeOf(g).length;
  const values = b.constant(
    g.dtype === 'float64' ? new Tensor('float64', [2], Float64Array.of(0, 1)) : Tensor.float32([2], [0, 1]),
  );
  const oneHot = b.op('OneHot', [indices, b.ints([length]), values], { axis: -1 });
  if (axis === rank - 1) {
    return product(b, { value: g, transposed: false }, { value: oneHot, transposed: false });
  }
  const swap = Array.from({ length: rank }, (_, i) => (i === axis ? rank - 1 : i === rank - 1 ? axis : i));
  const moved = b.op('Transpose', [g], { perm: swap });
  const summed = product(b, { value: moved, transposed: false }, { value: oneHot, transposed: false });
  return b.op('Transpose', [summed], { perm: swap });
}

const gather: GradientRule = single((node, g, { builder: b }) => {
  const [x, indices] = [node.input(0), node.input(1)];
  const shape = shapeOf(x);
  const axis = normalizeAxis(node.int('axis', 0), shape.length);
  const [length] = lengthsOf(x, [axis]);
  const indexRank = shapeOf(indices).length;
  let flat = g;
  if (indexRank === 0) flat = b.op('Unsqueeze', [g, b.ints([axis])]);
  if (indexRank > 1) {
    const count = lengthsOf(indices, [...Array(indexRank).keys()]).reduce((p, d) => p * d, 1);
    const target = [...shape.slice(0, axis), count, ...shape.slice(axis + 1)];
    const symbolic = target.filter((dim) => typeof dim === 'string').length;
    if (symbolic > 1) throw new UserError(`${node.label}: no gradient with ${symbolic} symbolic axes`);
    flat = b.op('Reshape', [g, b.ints(target.map((dim) => (typeof dim === 'string' ? -1 : dim)))]);
  }
  const known = indices.tensor?.integers.map((index) => (index < 0 ? index + length! : index));
  if (known?.every((index, i) => index === known[0]! + i)) {
    return [padAxis(b, flat, axis, known[0] ?? 0, length!)];
  }
  const list = indexRank === 1 ? indices : b.op('Reshape', [indices, b.ints([-1])]);
  return [scatterAxis(b, flat, axis, list, length!)];
});

/** Ops that move elements without changing them. */
export const movement: Record<string, GradientRule> = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: single((node, g, { builder: b }) => {
    const rank = shapeOf(node.input(0)).length;
    const perm = node.ints('perm', [...Array(rank).keys()].reverse());
    return [b.op('Transpose', [g], { perm: perm.map((_, axis) => perm.indexOf(axis)) })];
  }),
  Split: split,
  Concat: concat,
  Slice: slice,
  Gather: gather,
  Expand: single((node, g, { builder: b }) => [sumTo(b, g, node.input(0))]),
  Pad: single((node, g, { builder: b }) => {
    const x = node.input(0);
    const rank = shapeOf(x).length;
    if (node.string('mode', 'constant') !== 'constant')
      throw new UserError(`${node.label}: only constant padding has a gradient`);
    const pads = constantInts(node, 1)!;
    const axes = constantInts(node, 3)?.map((axis) => normalizeAxis(axis, rank)) ?? [...Array(rank).keys()];
    const ends = axes.map((_, i) => {
      const after = pads[i + axes.length]!;
      return after === 0 ? Number.MAX_SAFE_INTEGER : -after;
    });
    const starts = pads.slice(0, axes.length);
    const cut = b.op('Slice', [g, b.ints(starts), b.ints(ends), b.ints(axes), b.ints(axes.map(() => 1))]);
    cut.shape = x.shape;
    return [reshapeLike(b, cut, x)];
  }),
};
