import { broadcastShapes, divideDims, multiplyDims } from '../dim.ts';
import { isComputed } from '../schema/arguments.ts';
import type { OpArguments, OpName } from '../schema/signature.ts';
import type { Element } from '../symbolic/elements.ts';
import { evaluate, type Found } from '../symbolic/evaluate.ts';
import type { Dim, Node, Shape, Value } from '../types.ts';
import { shapeOf } from './rule.ts';

/** The shape of output 0 where an argument that says it is computed from shapes. */
export type SymbolicShapeRule<O extends OpName> = (
  node: Node,
  args: OpArguments[O],
  elements: (argument: readonly number[] | Value | undefined) => readonly Element[] | undefined,
) => Shape | undefined;

const reshape: SymbolicShapeRule<'Reshape'> = (node, { shape, allowzero }, elements) => {
  const target = elements(shape);
  const input = shapeOf(node, 0);
  if (!target || !input) return undefined;
  const dims = target.map((dim, i): Element => (dim === 0 && allowzero === 0 ? (input[i] ?? '?') : dim));
  const open = dims.flatMap((dim, i) => (dim === -1 || dim === undefined ? [i] : []));
  if (open.length === 0) return dims as Dim[];
  const known = dims.filter((_, i) => !open.includes(i)) as Dim[];
  const rest = open.length === 1 ? divideDims(multiplyDims(input), multiplyDims(known)) : undefined;
  return dims.map((dim, i) => (open.includes(i) ? (rest ?? '?') : dim!));
};

const lengths = (target: readonly Element[] | undefined): Dim[] | undefined =>
  target?.map((dim) => (typeof dim === 'number' && dim < 0 ? '?' : (dim ?? '?')));

/** Ops that are told their result's shape, keyed by `Node.op`. */
export const symbolicShapes: { readonly [O in OpName]?: SymbolicShapeRule<O> } = {
  Reshape: reshape,
  Expand: (node, { shape }, elements) => {
    const [input, target] = [shapeOf(node, 0), lengths(elements(shape))];
    return input && target && broadcastShapes(input, target);
  },
  ConstantOfShape: (_node, { shape }, elements) => lengths(elements(shape)),
  Tile: (node, { repeats }, elements) => {
    const times = elements(repeats);
    return (
      times &&
      shapeOf(node, 0)?.map((dim, i) => (times[i] === undefined ? '?' : multiplyDims([dim, times[i]])))
    );
  },
  Resize: (node, { sizes, axes }, elements) => {
    const [input, found] = [shapeOf(node, 0), sizes && lengths(elements(sizes))];
    if (!input || !found?.length) return undefined;
    return axes ? input.map((dim, i) => found[axes.indexOf(i)] ?? dim) : found;
  },
  Range: (node) => {
    const [start, , delta] = [0, 1, 2].map((i) => evaluate(node.input(i))?.values[0]);
    const limit = evaluate(node.input(1))?.values[0];
    return [start === 0 && delta === 1 && typeof limit === 'string' ? limit : '?'];
  },
};

/** The shape that `symbolicShapes` finds; undefined where it finds no more than that there is one. */
export function symbolicShape(
  rule: SymbolicShapeRule<OpName>,
  node: Node,
  args: OpArguments[OpName],
  found: Found,
): Shape | undefined {
  return rule(node, args, (argument) => {
    if (argument === undefined) return undefined;
    return isComputed(argument) ? evaluate(argument, found)?.values : argument;
  });
}
