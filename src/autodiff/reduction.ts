import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import { isComputed } from '../graph/schema/arguments.ts';
import { reducedAxes } from '../graph/schema/axes.ts';
import { type OpArguments, rowsFor } from '../graph/schema/signature.ts';
import { Tensor } from '../graph/tensor.ts';
import {
  expandLike,
  type GradientRule,
  type GradientRules,
  number,
  reshapeLike,
  shapeOf,
  single,
} from './rule.ts';

type Reduction = OpArguments['ReduceSum'];

function axesOf(node: Node, args: Reduction): number[] {
  const axes = reducedAxes(args, shapeOf(node.input(0)).length);
  if (!axes) throw new UserError(`${node.label}: no gradient for computed axes`);
  return axes;
}

/** A reduced value with the reduced axes back at length 1. */
function kept(b: Builder, node: Node, args: Reduction, value: Value): Value {
  if (args.keepdims === 1) return value;
  const axes = axesOf(node, args);
  return axes.length ? b.op('Unsqueeze', [value, b.ints([...axes].sort((x, y) => x - y))]) : value;
}

/** How many elements go into one: a number, or computed where an axis is symbolic. */
function divideByCount(b: Builder, node: Node, args: Reduction, value: Value): Value {
  const x = node.input(0);
  const shape = shapeOf(x);
  const lengths = axesOf(node, args).map((axis) => shape[axis]!);
  if (lengths.every((dim) => typeof dim === 'number')) {
    const count = (lengths as number[]).reduce((product, dim) => product * dim, 1);
    return b.op('Mul', [value, number(b, 1 / count, value)]);
  }
  const count = b.op('Div', [b.op('Size', [x]), b.op('Size', [node.output()])]);
  return b.op('Div', [value, b.op('CastLike', [count, value])]);
}

/** Each of the elements that equal the extreme gets an equal share. */
const extreme: GradientRule<Reduction> = single((node, args, g, { builder: b }) => {
  const x = node.input(0);
  const isIt = b.op('CastLike', [b.op('Equal', [x, kept(b, node, args, node.output())]), x]);
  const ties = b.op('ReduceSum', [isIt, b.ints(axesOf(node, args))], { keepdims: 1 });
  return [b.op('Mul', [isIt, b.op('Div', [kept(b, node, args, g), ties])])];
});

/** Sums, means and extremes over axes. */
export const reduction = {
  ReduceSum: single((node, args, g, { builder: b }) => [
    expandLike(b, kept(b, node, args, g), node.input(0)),
  ]),
  ReduceMean: single((node, args, g, { builder: b }) => [
    expandLike(b, divideByCount(b, node, args, kept(b, node, args, g)), node.input(0)),
  ]),
  ReduceSumSquare: single((node, args, g, { builder: b }) => {
    const x = node.input(0);
    return [b.op('Mul', [x, b.op('Mul', [kept(b, node, args, g), number(b, 2, g)])])];
  }),
  ReduceL2: single((node, args, g, { builder: b }) => {
    const x = node.input(0);
    return [b.op('Mul', [x, b.op('Div', [kept(b, node, args, g), kept(b, node, args, node.output())])])];
  }),
  ReduceL1: single((node, args, g, { builder: b }) => [
    b.op('Mul', [b.op('Sign', [node.input(0)]), kept(b, node, args, g)]),
  ]),
  ReduceLogSumExp: single((node, args, g, { builder: b }) => {
    const share = b.op('Exp', [b.op('Sub', [node.input(0), kept(b, node, args, node.output())])]);
    return [b.op('Mul', [share, kept(b, node, args, g)])];
  }),
  /** What an element was added to: itself and all behind it, or before it in reverse. */
  CumSum: single((_node, { axis, exclusive, reverse }, g, { builder: b }) => [
    b.op('CumSum', [g, isComputed(axis) ? axis : b.constant(Tensor.scalar(axis, 'int64'))], {
      exclusive,
      reverse: 1 - reverse,
    }),
  ]),
  ...rowsFor('ReduceMax ReduceMin', extreme),
  GlobalAveragePool: single((node, _args, g, { builder: b }) => {
    const x = node.input(0);
    const area = b.op('CastLike', [b.op('Div', [b.op('Size', [x]), b.op('Size', [g])]), g]);
    return [expandLike(b, b.op('Div', [g, area]), x)];
  }),
} satisfies GradientRules;

/** Ops whose gradient is the same elements in the input's shape. */
export const reshaped: GradientRule<object> = single((node, _args, g, { builder: b }) => [
  reshapeLike(b, g, node.input(0)),
]);
