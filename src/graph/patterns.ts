import { argumentsOf } from './schema/arguments.ts';
import { permutationOf } from './schema/axes.ts';
import type { Graph, Node, Value } from './types.ts';

/** The one node that reads a value, when there is one and the value is no graph output. */
export function soleReader(graph: Graph, value: Value): Node | undefined {
  return value.uses.length === 1 && !graph.outputs.includes(value) ? value.uses[0]!.node : undefined;
}

/** The operand of a node of two that is not `value`. */
export function otherOperand(node: Node, value: Value): Value {
  return node.input(node.input(0) === value ? 1 : 0);
}

/** The number that a float32 constant of one element holds. */
export function scalarOf(value: Value | undefined): number | undefined {
  return value?.tensor?.size === 1 && value.tensor.dtype === 'float32' ? value.tensor.floats[0] : undefined;
}

/** What a `Mul` or `Div` by a scalar constant scales, and by how much; its shape stays as it is. */
export function scaleOf(node: Node): { value: Value; factor: number } | undefined {
  if (node.op !== 'Mul' && node.op !== 'Div') return undefined;
  const sides = node.op === 'Mul' ? [1, 0] : [1];
  for (const side of sides) {
    const scalar = node.input(side);
    const value = node.input(1 - side);
    const factor = scalarOf(scalar);
    if (factor === undefined || scalar.shape!.length > (value.shape?.length ?? 0)) continue;
    if (node.op === 'Div') return factor === 0 ? undefined : { value, factor: 1 / factor };
    return { value, factor };
  }
  return undefined;
}

/** Where each axis of a Transpose's result comes from; undefined where that and the rank are left open. */
export function permutation(transpose: Node): readonly number[] | undefined {
  const args = argumentsOf<'Transpose'>(transpose);
  const rank = transpose.input(0).shape?.length ?? args.perm?.length;
  return rank === undefined ? undefined : permutationOf(args, rank);
}

/** Is the node a Transpose that moves axes exactly like this? */
export function permutes(node: Node | undefined, perm: readonly number[]): node is Node {
  return node?.op === 'Transpose' && permutation(node)?.join() === perm.join();
}

/** Is the node a Transpose that swaps the last two axes and nothing else? */
export function swapsLastTwo(node: Node | undefined): node is Node {
  if (node?.op !== 'Transpose') return false;
  const perm = permutation(node);
  const rank = perm?.length ?? 0;
  return rank >= 2 && perm!.every((axis, i) => axis === (i < rank - 2 ? i : 2 * rank - 3 - i));
}

/** A constant, or made of constants alone. */
export function isFixed(value: Value): boolean {
  return value.isConstant || (value.producer?.inputs.every((input) => !input || isFixed(input)) ?? false);
}
