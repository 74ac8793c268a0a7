import type { Graph, Node, Value } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import { permutes } from '../graph/patterns.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { einsumLabels } from '../graph/schema/einsum.ts';
import { type OpArguments, type OpName, rowOf, rowsFor } from '../graph/schema/signature.ts';

/**
 * What an axis of a parameter is to the layer that reads it: outputs or inputs of a Linear or Conv,
 * a norm's scale or shift, something added to channels, or other. Importance scores the first three.
 */
export type Role = 'output' | 'input' | 'normScale' | 'normShift' | 'added' | 'other';

type RoleRule<O extends OpName> = (node: Node, args: OpArguments[O], index: number, axis: number) => Role;

const convolution: RoleRule<'Conv'> = (_node, _args, index, axis) =>
  index === 2 ? 'added' : index === 1 ? (axis === 0 ? 'output' : axis === 1 ? 'input' : 'other') : 'other';

/** A weight is the right operand, `[in, out]` unless the op transposes it. */
const product = (node: Node, args: object, index: number, axis: number): Role => {
  if (index === 2) return 'added';
  if (index === 0 || node.input(1).shape?.length !== 2) return 'other';
  const output = 'transB' in args && args.transB === 1 ? 0 : 1;
  return axis === output ? 'output' : 'input';
};

const norm = (_node: Node, _args: object, index: number): Role =>
  index === 1 ? 'normScale' : index === 2 ? 'normShift' : 'other';

/** What an op makes of the axes of its operands, keyed by `Node.op`. */
export const roleRules: { readonly [O in OpName]?: RoleRule<O> } = {
  Conv: convolution,
  ...rowsFor('MatMul Gemm com.microsoft.FusedMatMul', product),
  ...rowsFor(
    'LayerNormalization RMSNormalization SimplifiedLayerNormalization BatchNormalization InstanceNormalization',
    norm,
  ),
  ConvTranspose: (_node, _args, index, axis) =>
    index === 2 ? 'added' : index === 1 ? (axis === 0 ? 'input' : axis === 1 ? 'output' : 'other') : 'other',
  Einsum: (node, args, index, axis) => {
    const labels = einsumLabels(node, args);
    const label = labels?.inputs[index]?.[axis];
    if (!labels || !label) return 'other';
    if (!labels.output.includes(label)) return 'input';
    const shared = labels.inputs.some((own, i) => i !== index && own.includes(label));
    return shared ? 'other' : 'output';
  },
  Add: () => 'added',
};

/**
 * The roles of a graph's constants. Where the graph says which constants are parameters, only those
 * have one.
 */
export function rolesOf(graph: Graph): (value: Value, axis: number) => Role {
  const trained = new Set(parameters(graph));
  return (value, axis) => (trained.size && !trained.has(value) ? 'other' : roleOf(value, axis));
}

function roleOf(value: Value, axis: number): Role {
  for (const { node, index } of value.uses) {
    if (node.op === 'Transpose' && value.shape?.length === 2) {
      const role = roleOf(node.output(), permutes(node, [1, 0]) ? 1 - axis : axis);
      if (role !== 'other') return role;
    }
    const rule = rowOf(roleRules, node) as RoleRule<OpName> | undefined;
    const role = rule?.(node, argumentsOf(node), index, axis) ?? 'other';
    if (role !== 'other') return role;
  }
  return 'other';
}
