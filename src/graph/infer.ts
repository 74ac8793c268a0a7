import { UserError } from '../common/errors.ts';
import type { Graph, Node, Shape } from './graph.ts';
import { shapeRules } from './shape-rules.ts';
import type { DataType } from './tensor.ts';

/** What a rule says of one output. Either part may be unknown. */
export interface Inferred {
  dtype: DataType | undefined;
  shape: Shape | undefined;
}

/** Dtypes and shapes of a node's outputs from those of its inputs (and the values of constant ones). */
export type ShapeRule = (node: Node, opset: number) => readonly Inferred[];

/**
 * Sets dtype and shape of the node's outputs by the op's rule; an op without one leaves them unknown.
 * @throws UserError when the inputs contradict the op
 */
export function inferNode(node: Node, opsets: ReadonlyMap<string, number>): void {
  const rule = shapeRules[node.op];
  if (!rule) return;
  let inferred: readonly Inferred[];
  try {
    inferred = rule(node, opsets.get(node.domain) ?? 1);
  } catch (error) {
    const shapes = node.inputs.map((v) => (v ? `${v.name} [${v.shape ?? '?'}]` : '-')).join(', ');
    throw new UserError(`${node.label}: ${(error as Error).message} (inputs: ${shapes})`);
  }
  node.outputs.forEach((output, i) => {
    const found = inferred[i];
    if (!output || !found) return;
    if (found.dtype) output.dtype = found.dtype;
    if (found.shape) output.shape = found.shape;
  });
}

/** Infers every node again, in order, after an edit that changed shapes upstream. */
export function inferGraph(graph: Graph): void {
  for (const node of graph.nodes) inferNode(node, graph.root.opsets);
}
