import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import { axesOf, expandLike, type GradientRule, number, reshapeLike, shapeOf, single } from './rule.ts';

function reducedAxes(node: Node): number[] {
  const rank = shapeOf(node.input(0)).length;
  const given = axesOf(node, rank);
  if (given?.length) return given;
  return node.int('noop_with_empty_axes', 0) === 1 ? [] : Array.from({ length: rank }, (_, i) => i);
}

/** A reduced value with the reduced axes back at length 1. */
function kept(b: Builder, node: Node, value: Value): Value {
  if (node.int('keepdims', 1) === 1) return value;
  const axes = reducedAxes(node);
  return axes.length ? b.op('Unsqueeze', [value, b.ints([...axes].sort((x, y) => x - y))]) : value;
}

/** How many elements go into one: a number, or computed where an axis is symbolic. */
function divideByCount(b: Builder, node: Node, value: Value): Value {
  const x = node.input(0);
  const shape = shapeOf(x);
  const lengths = reducedAxes(node).map((axis) => shape[axis]!);
  if (lengths.every((dim) => typeof dim === 'number')) {
    const count = (lengths as number[]).reduce((product, dim) => product * dim, 1);
    return b.op('Mul', [value, number(b, 1 / count, value)]);
  }
  const count = b.op('Div', [b.op('Size', [x]), b.op('Size', [node.output()])]);
  return b.op('Div', [value, b.op('CastLike', [count, value])]);
}

/** Each of the elements that equal the extreme gets an equal share. */
const extreme: GradientRule = single((node, g, { builder: b }) => {
  const x = node.input(0);
  const isIt = b.op('CastLike', [b.op('Equal', [x, kept(b, node, node.output())]), x]);
  const ties = b.op('ReduceSum', [isIt, b.ints(reducedAxes(node))], { keepdims: 1 });
  return [b.op('Mul', [isIt, b.op('Div', [kept(b, node, g), ties])])];
});

/** Sums, means and extremes over axes. */
export const reduction: Record<string, GradientRule> = {
  ReduceSum: single((node, g, { builder: b }) => [expandLike(b, kept(b, node, g), node.input(0))]),
  ReduceMean: single((node, g, { builder: b }) => [
    expandLike(b, divideByCount(b, node, kept(b, node, g)), node.input(0)),
  ]),
  ReduceSumSquare: single((node, g, { builder: b }) => {
    const x = node.input(0);
    return [b.op('Mul', [x, b.op('Mul', [kept(b, node, g), number(b, 2, g)])])];
  }),
  ReduceL2: single((node, g, { builder: b }) => {
    const x = node.input(0);
    return [b.op('Mul', [x, b.op('Div', [kept(b, node, g), kept(b, node, node.output())])])];
  }),
  ReduceMax: extreme,
  ReduceMin: extreme,
  GlobalAveragePool: single((node, g, { builder: b }) => {
    const x = node.input(0);
    const area = b.op('CastLike', [b.op('Div', [b.op('Size', [x]), b.op('Size', [g])]), g]);
    return [expandLike(b, b.op('Div', [g, area]), x)];
  }),
};

/** Ops whose gradient is the same elements in the input's shape. */
export const reshaped: GradientRule = single((node, g, { builder: b }) => [reshapeLike(b, g, node.input(0))]);
