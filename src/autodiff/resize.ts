import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { type ResizedAxis, resizedAxes, resizeMatrix } from '../graph/schema/resize.ts';
import { Tensor } from '../graph/tensor.ts';
import { type GradientRules, reshapeLike, reshapeTarget, shapeOf, single } from './rule.ts';

/** Whether each place of the input is repeated so many times, side by side, and nothing else. */
function repeats(matrix: Float32Array, { from, to }: ResizedAxis): boolean {
  const times = to / from;
  if (!Number.isInteger(times)) return false;
  return matrix.every(
    (weight, i) => weight === Number(Math.floor(Math.floor(i / from) / times) === i % from),
  );
}

/** The sums over blocks of an axis. */
function blockSums(b: Builder, g: Value, { axis, from, to }: ResizedAxis): Value {
  const shape = shapeOf(g);
  const target = reshapeTarget([...shape.slice(0, axis), from, to / from, ...shape.slice(axis + 1)]);
  if (!target) throw new UserError(`the gradient at ${g.name} [${shape}] needs its axes to be numbers`);
  return b.op('ReduceSum', [b.op('Reshape', [g, b.ints(target)]), b.ints([axis + 1])], { keepdims: 0 });
}

/** The product along one axis of `g` with a matrix `[to, from]`. */
function along(b: Builder, g: Value, axis: number, matrix: Tensor): Value {
  const rank = shapeOf(g).length;
  if (axis === rank - 1) return b.op('MatMul', [g, matrix]);
  const swap = Array.from({ length: rank }, (_, i) => (i === axis ? rank - 1 : i === rank - 1 ? axis : i));
  const moved = b.op('MatMul', [b.op('Transpose', [g], { perm: swap }), matrix]);
  return b.op('Transpose', [moved], { perm: swap });
}

/** Resizing is linear, and each axis by itself: its gradient is the product with the same weights, transposed. */
export const resize = {
  Resize: single((node, args, g, { builder: b }) => {
    const axes = resizedAxes(node, args);
    if (!axes) throw new UserError(`${node.label}: no gradient where the size is computed at run time`);
    const gradient = axes.reduceRight((value, resized) => {
      const matrix = resizeMatrix(resized, args);
      if (repeats(matrix, resized)) return blockSums(b, value, resized);
      return along(b, value, resized.axis, Tensor.float32([resized.to, resized.from], matrix));
    }, g);
    return [reshapeLike(b, gradient, node.input(0))];
  }),
} satisfies GradientRules;
