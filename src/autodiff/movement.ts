import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import { normalizeAxis, sameDim } from '../graph/dim.ts';
import type { Node, Value } from '../graph/graph.ts';
import { isComputed } from '../graph/schema/arguments.ts';
import { permutationOf } from '../graph/schema/axes.ts';
import { copiedPlaces, paddingOf, rangesOf, slicedIndices } from '../graph/schema/ranges.ts';
import { type OpArguments, rowsFor } from '../graph/schema/signature.ts';
import { Tensor } from '../graph/tensor.ts';
import { product } from './product.ts';
import { reshaped } from './reduction.ts';
import {
  type GradientRule,
  type GradientRules,
  lengthsOf,
  number,
  reshapeLike,
  reshapeTarget,
  shapeOf,
  single,
  sumTo,
  zerosLike,
} from './rule.ts';

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

const split: GradientRule<OpArguments['Split']> = (node, args, gradients, { builder: b }) => {
  const axis = normalizeAxis(args.axis, shapeOf(node.input(0)).length);
  const parts = node.outputs.map((output, i) => gradients[i] ?? zerosLike(b, output!));
  return [b.op('Concat', parts, { axis })];
};

const concat: GradientRule<OpArguments['Concat']> = single((node, args, g, { builder: b, wants }) => {
  const axis = normalizeAxis(args.axis, shapeOf(g).length);
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

const slice: GradientRule<OpArguments['Slice']> = single((node, args, g, { builder: b }) => {
  const x = node.input(0);
  const ranges = rangesOf(args, shapeOf(x).length);
  if (!ranges) throw new UserError(`${node.label}: no gradient where it slices at computed places`);
  return [
    ranges.reduce((gradient, range) => {
      const [length] = lengthsOf(x, [range.axis]);
      const indices = slicedIndices(length!, range);
      if (range.step === 1) return padAxis(b, gradient, range.axis, indices[0] ?? 0, length!);
      return scatterAxis(b, gradient, range.axis, b.ints(indices), length!);
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

/** Along an axis whose length is known at run time only: slices are added into zeros, the axis first. */
function gatheredFromOpen(b: Builder, node: Node, g: Value, axis: number): Value {
  const [x, indices] = [node.input(0), node.input(1)];
  const rank = shapeOf(x).length;
  const indexRank = shapeOf(indices).length;
  const front = (value: Value, from: number, count: number) => {
    const order = [...Array(shapeOf(value).length).keys()];
    const moved = order.splice(from, count);
    return from === 0 ? value : b.op('Transpose', [value], { perm: [...moved, ...order] });
  };
  const zeros = front(zerosLike(b, x), axis, 1);
  const places = b.op('Unsqueeze', [indices, b.ints([-1])]);
  const added = b.op('ScatterND', [zeros, places, front(g, axis, indexRank)], { reduction: 'add' });
  if (axis === 0) return added;
  const back = [...Array(rank).keys()].map((i) => (i < axis ? i + 1 : i === axis ? 0 : i));
  return b.op('Transpose', [added], { perm: back });
}

const gather: GradientRule<OpArguments['Gather']> = single((node, args, g, { builder: b }) => {
  const [x, indices] = [node.input(0), node.input(1)];
  const shape = shapeOf(x);
  const axis = normalizeAxis(args.axis, shape.length);
  const length = shape[axis]!;
  if (typeof length === 'string') return [gatheredFromOpen(b, node, g, axis)];
  const indexRank = shapeOf(indices).length;
  let flat = g;
  if (indexRank === 0) flat = b.op('Unsqueeze', [g, b.ints([axis])]);
  if (indexRank > 1) {
    const count = lengthsOf(indices, [...Array(indexRank).keys()]).reduce((p, d) => p * d, 1);
    const target = reshapeTarget([...shape.slice(0, axis), count, ...shape.slice(axis + 1)]);
    if (!target) throw new UserError(`${node.label}: no gradient with several symbolic axes`);
    flat = b.op('Reshape', [g, b.ints(target)]);
  }
  const known = isComputed(args.indices)
    ? undefined
    : args.indices.map((index) => (index < 0 ? index + length : index));
  if (known?.every((index, i) => index === known[0]! + i)) {
    return [padAxis(b, flat, axis, known[0] ?? 0, length)];
  }
  const list = indexRank === 1 ? indices : b.op('Reshape', [indices, b.ints([-1])]);
  return [scatterAxis(b, flat, axis, list, length)];
});

/** Ops that move elements without changing them. */
export const movement = {
  ...rowsFor('Reshape Flatten Squeeze Unsqueeze', reshaped),
  Transpose: single((node, args, g, { builder: b }) => {
    const perm = permutationOf(args, shapeOf(node.input(0)).length);
    return [b.op('Transpose', [g], { perm: perm.map((_, axis) => perm.indexOf(axis)) })];
  }),
  Split: split,
  Concat: concat,
  Slice: slice,
  Gather: gather,
  /** The copies of an axis lie one behind the other. */
  Tile: single((node, { repeats }, g, { builder: b }) => {
    const x = node.input(0);
    const stretched = shapeOf(x).every((dim, i) => dim === 1 || sameDim(dim, shapeOf(g)[i]));
    if (stretched) return [sumTo(b, g, x)];
    if (isComputed(repeats)) throw new UserError(`${node.label}: no gradient where the repeats are computed`);
    const apart = shapeOf(x).flatMap((dim, i) => (repeats[i] === 1 ? [dim] : [repeats[i]!, dim]));
    const target = reshapeTarget(apart);
    if (!target) throw new UserError(`${node.label}: no gradient with several symbolic axes`);
    let at = 0;
    const copies = repeats.flatMap((times) => {
      const place = at;
      at += times === 1 ? 1 : 2;
      return times === 1 ? [] : [place];
    });
    if (copies.length === 0) return [g];
    const sum = b.op('ReduceSum', [b.op('Reshape', [g, b.ints(target)]), b.ints(copies)], { keepdims: 0 });
    return [reshapeLike(b, sum, x)];
  }),
  Expand: single((node, _args, g, { builder: b }) => [sumTo(b, g, node.input(0))]),
  Pad: single((node, args, g, { builder: b }) => {
    const x = node.input(0);
    const padding = paddingOf(args, shapeOf(x).length);
    if (!padding) throw new UserError(`${node.label}: no gradient where the padding is computed`);
    if (padding.some(({ before, after }) => before < 0 || after < 0)) {
      throw new UserError(`${node.label}: no gradient where padding cuts off`);
    }
    if (args.mode !== 'constant') {
      return [
        padding
          .filter(({ before, after }) => before + after > 0)
          .reduce((gradient, { axis, before, after }) => {
            const [length] = lengthsOf(x, [axis]);
            const places = copiedPlaces(args.mode, length!, before, after);
            return scatterAxis(b, gradient, axis, b.ints(places), length!);
          }, g),
      ];
    }
    const end = (after: number) => (after === 0 ? Number.MAX_SAFE_INTEGER : -after);
    const cut = b.op('Slice', [
      g,
      b.ints(padding.map(({ before }) => before)),
      b.ints(padding.map(({ after }) => end(after))),
      b.ints(padding.map(({ axis }) => axis)),
      b.ints(padding.map(() => 1)),
    ]);
    cut.shape = x.shape;
    return [reshapeLike(b, cut, x)];
  }),
} satisfies GradientRules;
