import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { isFixed, scaleOf, soleReader, swapsLastTwo } from '../graph/patterns.ts';
import { replaceValue } from '../graph/replace.ts';

/**
 * Puts what stands around a product of two activations into it, `com.microsoft.FusedMatMul`, in place.
 * 1. A `Mul` or `Div` by a scalar constant, on either operand or on the result, becomes `alpha`.
 * 2. A `Transpose` of the last two axes of an operand becomes `transA` or `transB`.
 *
 * It does not fire
 * - on products with a constant (linear layers: their scale and layout are folded into the weight);
 * - on anything but float32, for which the engine's kernel is;
 * - when somebody else reads the scaled result, or the scaled or transposed operand (it would have to be
 *   made all the same).
 *
 * @returns how many products were fused
 */
export function fuseMatMul(graph: Graph): number {
  let count = 0;
  for (const node of [...graph.nodes]) {
    if (node.op !== 'MatMul' || node.output().dtype !== 'float32') continue;
    if (node.inputs.some((value) => value && isFixed(value))) continue;
    if (fuse(graph, node)) count++;
  }
  graph.removeDead();
  return count;
}

function fuse(graph: Graph, node: Node): boolean {
  let alpha = 1;
  let operands = [node.input(0), node.input(1)] as const;
  const transposed: [number, number] = [0, 0];
  const peel = (value: Value, side: 0 | 1): Value => {
    const maker = soleReader(graph, value) && value.producer;
    const scale = maker && scaleOf(maker);
    if (scale) {
      alpha *= scale.factor;
      return peel(scale.value, side);
    }
    if (swapsLastTwo(maker)) {
      transposed[side] ^= 1;
      return peel(maker.input(0), side);
    }
    return value;
  };
  operands = [peel(operands[0], 0), peel(operands[1], 1)];
  const reader = soleReader(graph, node.output());
  const after = reader && scaleOf(reader);
  if (after) alpha *= after.factor;
  if (alpha === 1 && !transposed[0] && !transposed[1]) return false;
  const fused = new Builder(graph, node).op('com.microsoft.FusedMatMul', operands, {
    alpha: float(alpha),
    transA: transposed[0],
    transB: transposed[1],
  });
  replaceValue(graph, after ? reader!.output() : node.output(), fused);
  return true;
}
