import type { Graph, Node, Value } from '../graph/graph.ts';
import { evaluate, type Found } from '../graph/symbolic/evaluate.ts';
import { branchOf, subgraphs } from '../graph/traversal.ts';

/**
 * Puts the branch that is taken in the place of an `If` whose condition is known beforehand. It does not fire
 * when the branch has nodes with subgraphs of their own.
 * @returns the nodes that came in
 */
export function takeBranch(graph: Graph, node: Node, found: Found): readonly Node[] | undefined {
  const condition = evaluate(node.input(0), found)?.values[0];
  if (typeof condition !== 'number') return undefined;
  const branch = branchOf(node, condition !== 0);
  if (!branch || branch.nodes.some((inner) => subgraphs(inner).length > 0)) return undefined;
  const twins = new Map<Value, Value>();
  const twin = (value: Value) => twins.get(value) ?? value;
  for (const constant of branch.constants.values()) {
    twins.set(constant, graph.addConstant(graph.uniqueName(constant.name), constant.tensor!));
  }
  const made = branch.nodes.map((inner) => {
    const copy = graph.addNode({
      opType: inner.opType,
      domain: inner.domain,
      name: inner.name,
      inputs: inner.inputs.map((value) => value && twin(value)),
      outputs: inner.outputs.map((value) => (value ? graph.uniqueName(value.name) : '')),
      attributes: Object.fromEntries(inner.attributes),
      before: node,
    });
    inner.outputs.forEach((value, i) => {
      if (!value) return;
      const output = copy.output(i);
      [output.dtype, output.shape] = [value.dtype, value.shape];
      twins.set(value, output);
    });
    copy.carried = inner.carried;
    return copy;
  });
  node.outputs.forEach((output, i) => {
    if (output) graph.replaceUses(output, twin(branch.outputs[i]!));
  });
  // What the branches read of this graph counts as read until they are gone.
  for (const nested of subgraphs(node)) {
    nested.outputs.length = 0;
    nested.removeNodes(nested.nodes);
  }
  graph.removeNodes([node]);
  return made;
}
