import type { Dim, Graph, Node } from './graph.ts';

/** Multiply-accumulates of one node, for a batch of one. */
export type CostRule = (node: Node) => number;

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
  (node) => {
    const left = node.input(0).shape ?? [];
    const inner = left[node.int(transA, 0) ? left.length - 2 : left.length - 1] ?? 1;
    return size(node.output().shape) * perImage(inner);
  };

const convolution: CostRule = (node) => {
  const [, ...window] = node.input(1).shape ?? [];
  return size(node.output().shape) * size(window);
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
  'com.microsoft.MultiHeadAttention': (node) => {
    const [, queries = 1, width = 1] = node.input(0).shape ?? [];
    const [, keys = 1, valueWidth = 1] = node.input(2).shape ?? [];
    return perImage(queries) * perImage(keys) * (perImage(width) + perImage(valueWidth));
  },
};

/** Multiply-accumulates of one forward pass of one image. Shapes must have been inferred. */
export function countMacs(graph: Graph): number {
  return graph.nodes.reduce((total, node) => total + (costRules[node.op]?.(node) ?? 0), 0);
}
