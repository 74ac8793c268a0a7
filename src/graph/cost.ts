import type { Dim, Graph, Node, Shape, Value } from './types.ts';

/** Multiply-accumulates of one node, for a batch of one, when its values have these shapes. */
export type CostRule = (node: Node, shapeOf: ShapeOf) => number;

export type ShapeOf = (value: Value) => Shape | undefined;

/** A symbolic axis counts once per image: `197*N` is 197. */
const perImage = (dim: Dim): number =>
  typeof dim === 'number'
    ? dim
    : dim.split('*').reduce((product, part) => (/^\d+$/.test(part) ? product * Number(part) : product), 1);

const size = (shape: readonly Dim[] | undefined): number =>
  (shape ?? []).reduce<number>((p, d) => p * perImage(d), 1);

/** Every output element is a dot product over the last axis of the first operand. */
const product =
  (transA = 'transA'): CostRule =>
  (node, shapeOf) => {
    const left = shapeOf(node.input(0)) ?? [];
    const inner = left[node.int(transA, 0) ? left.length - 2 : left.length - 1] ?? 1;
    return size(shapeOf(node.output())) * perImage(inner);
  };

const convolution: CostRule = (node, shapeOf) => {
  const [, ...window] = shapeOf(node.input(1)) ?? [];
  return size(shapeOf(node.output())) * size(window);
};

/** Multiply-accumulates of the ops that have any worth counting; elementwise work is not counted. */
export const costRules: Record<string, CostRule> = {
  MatMul: product(),
  'com.microsoft.FusedMatMul': product(),
  Gemm: product(),
  MatMulInteger: product(),
  QLinearMatMul: product(),
  'com.microsoft.MatMulIntegerToFloat': product(),
  'com.microsoft.DynamicQuantizeMatMul': product(),
  Conv: convolution,
  ConvInteger: convolution,
  'com.microsoft.MultiHeadAttention': (node, shapeOf) => {
    const [, queries = 1, width = 1] = shapeOf(node.input(0)) ?? [];
    const [, keys = 1, valueWidth = 1] = shapeOf(node.input(2)) ?? [];
    return perImage(queries) * perImage(keys) * (perImage(width) + perImage(valueWidth));
  },
};

/**
 * Multiply-accumulates of one forward pass of one image.
 * @param shapeOf the shapes to count with; default: those that were inferred
 */
export function countMacs(graph: Graph, shapeOf: ShapeOf = (value) => value.shape): number {
  return graph.nodes.reduce((total, node) => total + (costRules[node.op]?.(node, shapeOf) ?? 0), 0);
}
