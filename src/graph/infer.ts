import { UserError } from '../common/errors.ts';
import { argumentsOf } from './schema/arguments.ts';
import { type OpName, rowOf } from './schema/signature.ts';
import type { Inferred, ShapeRule } from './shapes/rule.ts';
import { shapeRules } from './shapes/rules.ts';
import type { Graph, Node } from './types.ts';

/**
 * Sets dtype and shape of the node's outputs by the op's rule; an op without one leaves them unknown.
 * @throws UserError when the inputs contradict the op
 */
export function inferNode(node: Node): void {
  const rule = rowOf(shapeRules, node) as ShapeRule<OpName> | undefined;
  if (!rule) return;
  let inferred: readonly Inferred[];
  try {
    inferred = rule(node, argumentsOf(node));
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
  for (const node of graph.nodes) inferNode(node);
}
