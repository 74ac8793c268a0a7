import { broadcastShapes, sameShape } from '../../graph/dim.ts';
import type { Graph, Node, Shape, Value } from '../../graph/graph.ts';
import { otherOperand, scalarOf } from '../../graph/patterns.ts';

/**
 * Takes out masks that hide nothing.
 * 1. `Where(c, a, b)` with a constant c that is true (or false) everywhere, repeated or not, is a (or b), where its
 *    readers broadcast.
 * 2. Adding a constant scalar 0 does nothing.
 * 3. `Where(IsNaN(s), 0, s)` of a Softmax of scores that are nowhere hidden by minus infinity is s.
 */
export function masks(graph: Graph): void {
  for (const node of graph.nodes) {
    if (graph.outputs.some((output) => output.producer === node)) continue;
    if (node.op === 'Where') {
      const kept = safeSoftmax(node) ?? chosen(node);
      if (kept && fits(node, kept)) graph.replaceUses(node.output(), kept);
    } else if (node.op === 'Add') {
      const zero = node.inputs.find((value) => scalarOf(value) === 0 && value!.shape!.length === 0);
      const other = zero && otherOperand(node, zero);
      if (other && sameShape(other.shape, node.output().shape)) graph.replaceUses(node.output(), other);
    }
  }
  graph.removeDead();
}

/** Do all readers give the same shape when they read this instead? */
function fits(node: Node, kept: Value): boolean {
  if (sameShape(kept.shape, node.output().shape)) return true;
  return node.output().uses.every(({ node: reader }) => {
    if (reader.op !== 'Add') return false;
    const shapes = reader.inputs.map((input) => (input === node.output() ? kept.shape : input?.shape));
    if (shapes.some((shape) => !shape)) return false;
    return sameShape((shapes as Shape[]).reduce(broadcastShapes), reader.output().shape);
  });
}

/** The operand that a condition which is the same everywhere chooses. */
function chosen(node: Node): Value | undefined {
  const condition = unrepeated(node.input(0)).tensor;
  if (condition?.dtype !== 'bool') return undefined;
  const flags = condition.data as Uint8Array;
  if (flags.every((flag) => flag !== 0)) return node.input(1);
  return flags.every((flag) => flag === 0) ? node.input(2) : undefined;
}

/** What an Expand, an Unsqueeze or a Reshape has the elements of. */
function unrepeated(value: Value): Value {
  let at = value;
  while (at.producer && ['Expand', 'Unsqueeze', 'Reshape'].includes(at.producer.op))
    at = at.producer.input(0);
  return at;
}

function safeSoftmax(node: Node): Value | undefined {
  const [test, zero, kept] = [node.input(0).producer, scalarOf(node.input(1)), node.input(2)];
  if (test?.op !== 'IsNaN' || test.input(0) !== kept || zero !== 0 || kept.producer?.op !== 'Softmax')
    return undefined;
  return hidesAny(kept.producer.input(0)) ? undefined : kept;
}

/** Is minus infinity, or what is not known to be anything else, added to scores? */
function hidesAny(scores: Value): boolean {
  const add = scores.producer;
  if (add?.op !== 'Add') return false;
  return add.inputs.some((value) => {
    const maker = value?.producer;
    if (maker?.op === 'Where')
      return [1, 2].some((i) => !Number.isFinite(scalarOf(maker.input(i)) ?? Number.NaN));
    if (value?.tensor?.dtype === 'float32') return value.tensor.floats.some((x) => !Number.isFinite(x));
    return maker?.op !== 'MatMul' && maker?.op !== 'Add';
  });
}
