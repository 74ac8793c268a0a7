import { otherOperand, permutes, soleReader } from './patterns.ts';
import { argumentsOf } from './schema/arguments.ts';
import { type OpName, rowOf } from './schema/signature.ts';
import type { Graph, Node, Value } from './types.ts';

/** A fully connected layer: a matrix product with a constant weight and, it may be, a constant bias. */
export interface Linear {
  /** The MatMul or Gemm. */
  readonly product: Node;
  readonly input: Value;
  readonly weight: Value;
  /** How the weight lies: `[out, in]` (PyTorch) or `[in, out]` (plain MatMul). */
  readonly layout: 'out,in' | 'in,out';
  /** One number an output channel. */
  readonly bias: Value | undefined;
  /** The layer's result, bias included. */
  readonly output: Value;
}

/**
 * The Linear whose product this node is; undefined when it is none. Recognized are
 * 1. `MatMul(x, W)`, W a constant `[in, out]`;
 * 2. `MatMul(x, Transpose(W, perm=[1, 0]))`, W a constant `[out, in]`;
 * 3. `Gemm(x, W, C)` with alpha = beta = 1, x not transposed, C absent or a constant `[out]`.
 * An `Add` of a constant `[out]` that alone reads a product of 1 or 2 is its bias. A rank-1 x is none.
 */
export function matchLinear(graph: Graph, node: Node): Linear | undefined {
  const match = rowOf(linearMatchers, node) as LinearMatcher | undefined;
  return match?.(graph, node);
}

/** Every Linear of the graph, in order. */
export function linears(graph: Graph): Linear[] {
  return graph.nodes.flatMap((node) => matchLinear(graph, node) ?? []);
}

function transposedConstant(value: Value): Value | undefined {
  const { producer } = value;
  return permutes(producer, [1, 0]) && producer.input(0).isConstant ? producer.input(0) : undefined;
}

function matchMatMul(graph: Graph, node: Node): Linear | undefined {
  const right = node.input(1);
  const transposed = transposedConstant(right);
  const weight = transposed ?? right;
  const input = node.input(0);
  if (!weight.isConstant || weight.shape?.length !== 2 || (input.shape?.length ?? 0) < 2) return undefined;
  const layout = transposed ? 'out,in' : 'in,out';
  const channels = weight.shape[transposed ? 0 : 1];
  const bare: Linear = { product: node, input, weight, layout, bias: undefined, output: node.output() };
  const add = soleReader(graph, node.output());
  if (add?.op !== 'Add') return bare;
  const other = otherOperand(add, node.output());
  if (!other.isConstant || other.shape?.length !== 1 || other.shape[0] !== channels) return bare;
  return { ...bare, bias: other, output: add.output() };
}

function matchGemm(_graph: Graph, node: Node): Linear | undefined {
  const weight = node.input(1);
  const bias = node.inputs[2];
  const { alpha, beta, transA, transB } = argumentsOf<'Gemm'>(node);
  const scaled = alpha !== 1 || (bias && beta !== 1);
  if (scaled || transA || !weight.isConstant || weight.shape?.length !== 2) return undefined;
  const layout = transB ? 'out,in' : 'in,out';
  const channels = weight.shape[layout === 'out,in' ? 0 : 1];
  if (bias && !(bias.isConstant && bias.shape?.length === 1 && bias.shape[0] === channels)) return undefined;
  return { product: node, input: node.input(0), weight, layout, bias, output: node.output() };
}

type LinearMatcher = (graph: Graph, node: Node) => Linear | undefined;

/** The ops that can be the product of a Linear, keyed by `Node.op`. */
export const linearMatchers: { readonly [O in OpName]?: LinearMatcher } = {
  MatMul: matchMatMul,
  Gemm: matchGemm,
};
