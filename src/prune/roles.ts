import type { Graph, Node, Value } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';

/**
 * What an axis of a parameter is to the layer that reads it: outputs or inputs of a Linear or Conv,
 * a norm's scale or shift, something added to channels, or other. Importance scores the first three.
 */
export type Role = 'output' | 'input' | 'normScale' | 'normShift' | 'added' | 'other';

type RoleRule = (node: Node, index: number, axis: number) => Role;

const convolution: RoleRule = (_node, index, axis) =>
  index === 2 ? 'added' : index === 1 ? (axis === 0 ? 'output' : axis === 1 ? 'input' : 'other') : 'other';

/** A weight is the right operand, `[in, out]` unless the op transposes it. */
const product: RoleRule = (node, index, axis) => {
  if (index === 2) return 'added';
  if (index === 0 || node.input(1).shape?.length !== 2) return 'other';
  const output = node.op !== 'MatMul' && node.int('transB', 0) === 1 ? 0 : 1;
  return axis === output ? 'output' : 'input';
};

const norm: RoleRule = (_node, index) => (index === 1 ? 'normScale' : index === 2 ? 'normShift' : 'other');

const roleRules: Record<string, RoleRule> = {
  Conv: convolution,
  MatMul: product,
  Gemm: product,
  'com.microsoft.FusedMatMul': product,
  LayerNormalization: norm,
  RMSNormalization: norm,
  SimplifiedLayerNormalization: norm,
  BatchNormalization: norm,
  InstanceNormalization: norm,
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
      const [first, second] = node.ints('perm', [1, 0]);
      const role = roleOf(node.output(), first === 1 && second === 0 ? 1 - axis : axis);
      if (role !== 'other') return role;
    }
    const role = roleRules[node.op]?.(node, index, axis) ?? 'other';
    if (role !== 'other') return role;
  }
  return 'other';
}
