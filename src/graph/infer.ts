import { UserError } from '../common/errors.ts';
import { argumentsOf } from './schema/arguments.ts';
import { type OpName, rowOf } from './schema/signature.ts';
import type { Inferred, ShapeRule } from './shapes/rule.ts';
import { shapeRules } from './shapes/rules.ts';
import { type SymbolicShapeRule, symbolicShape, symbolicShapes } from './shapes/symbolic.ts';
import type { Found } from './symbolic/evaluate.ts';
import type { Graph, Node, Shape, Value } from './types.ts';

/**
 * Sets dtype and shape of the node's outputs by the op's rule; an op without one leaves them unknown.
 * @param found what is known of small tensors, where several nodes are inferred one after the other
 * @throws UserError when the inputs contradict the op
 */
export function inferNode(node: Node, found: Found = new Map()): void {
  const rule = rowOf(shapeRules, node) as ShapeRule<OpName> | undefined;
  const told = rowOf(symbolicShapes, node) as SymbolicShapeRule<OpName> | undefined;
  if (!rule && !told) return;
  let inferred: readonly Inferred[];
  try {
    const args = argumentsOf(node);
    inferred = rule?.(node, args) ?? [{ dtype: node.inputs[0]?.dtype, shape: undefined }];
    if (told && inferred[0] && !inferred[0].shape) {
      inferred = [{ dtype: inferred[0].dtype, shape: symbolicShape(told, node, args, found) }];
    }
    for (const { shape } of inferred) assertShape(shape);
  } catch (error) {
    throw contradiction(node, error);
  }
  node.outputs.forEach((output, i) => {
    const found = inferred[i];
    if (!output || !found) return;
    if (found.dtype) output.dtype = found.dtype;
    if (found.shape) output.shape = found.shape;
  });
}

/** Says of what a rule fell over that the node's inputs contradict its op. */
export function contradiction(node: Node, error: unknown): UserError {
  const shapes = node.inputs.map((v) => (v ? `${v.name} [${v.shape ?? '?'}]` : '-')).join(', ');
  return new UserError(`${node.label}: ${(error as Error).message} (inputs: ${shapes})`);
}

function assertShape(shape: Shape | undefined): void {
  const wrong = shape?.some((dim) => typeof dim !== 'string' && !(Number.isSafeInteger(dim) && dim >= 0));
  if (wrong) throw new Error(`it would give [${shape}]`);
}

/**
 * Infers every node again, in order, after an edit that changed shapes upstream. A shape that was only told, by
 * a file, stays where no shape that its node reads has changed, and is forgotten elsewhere.
 */
export function inferGraph(graph: Graph): void {
  const changed = new Set<Value>();
  const found: Found = new Map();
  for (const node of graph.nodes) {
    const before = node.outputs.map((output) => output?.shape);
    const moved = node.inputs.some((input) => input && changed.has(input));
    if (moved) for (const output of node.outputs) if (output) output.shape = undefined;
    inferNode(node, found);
    node.outputs.forEach((output, i) => {
      if (output && !equal(output.shape, before[i])) changed.add(output);
    });
  }
}

const equal = (a: Shape | undefined, b: Shape | undefined) => `${a}` === `${b}`;
