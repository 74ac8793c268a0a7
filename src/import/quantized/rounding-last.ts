import { Builder } from '../../graph/builder.ts';
import type { Graph, Node } from '../../graph/graph.ts';
import { replaceValue } from '../../graph/replace.ts';
import { type OpName, rowOf, rowsFor } from '../../graph/schema/signature.ts';

/** Ops that give elements of their first input, in another place. */
const moving: { readonly [O in OpName]?: true } = rowsFor(
  'Reshape Flatten Squeeze Unsqueeze Transpose Expand Tile Slice Split Gather Identity',
  true,
);

/**
 * Rounds behind what only moves numbers instead of before it, in place: `Transpose(QuantizeLinear(x))` is
 * `QuantizeLinear(Transpose(x))`, so that what reads the integers finds the rounding before it. It does not fire on scales of channels.
 */
export function roundingLast(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    const rounding = node.inputs[0]?.producer;
    if (!rowOf(moving, node) || rounding?.op !== 'QuantizeLinear' || !isOneForAll(rounding)) continue;
    const b = new Builder(graph, node);
    const attributes = Object.fromEntries(node.attributes);
    const outputs = node.outputs.map((_, i) => graph.uniqueName(`${node.name}_real${i || ''}`));
    const moved = b.node(node.op, [rounding.input(0), ...node.inputs.slice(1)], attributes, outputs);
    node.outputs.forEach((output, i) => {
      if (!output) return;
      const operands = [moved.output(i), ...rounding.inputs.slice(1)];
      replaceValue(graph, output, b.op('QuantizeLinear', operands, {}, 'quantized'));
    });
    graph.removeNodes([node]);
  }
  graph.removeDead();
}

const isOneForAll = ({ inputs }: Node): boolean => (inputs[1]?.tensor?.size ?? 0) === 1;
