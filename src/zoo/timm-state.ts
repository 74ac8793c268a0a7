import type { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { scoreProduct } from './blocks-of.ts';
import { architectureOf } from './model-family.ts';
import { shapesOf, stateDict } from './state.ts';

/** One attention of a graph: where its parameters are, and what it multiplies queries with. */
interface QueryScale {
  /** The scope of its parameters: `blocks.0.attn`. */
  scope: string;
  scale: number;
  headDim: number;
}

/** The attentions of a graph built here: Softmax(MatMul(Mul(q, scale), k)). */
function queryScales(graph: Graph): QueryScale[] {
  const found = new Map<string, QueryScale>();
  for (const node of graph.nodes) {
    if (node.op !== 'Softmax') continue;
    const scaled = scoreProduct(node)?.inputs[0]?.producer;
    const constant =
      scaled?.op === 'Mul' ? scaled.inputs.find((value) => value?.tensor?.size === 1) : undefined;
    const headDim = scaled?.output().shape?.at(-1);
    if (!constant || typeof headDim !== 'number') continue;
    const scope = node.output().name.replace(/(\.(first|second))?\.softmax(_\d+)?$/, '');
    found.set(scope, { scope, scale: constant.tensor!.floats[0]!, headDim });
  }
  return [...found.values()];
}

/**
 * The state dict that makes timm compute what the graph computes. timm scales queries by D^-0.5 of the
 * head width D it finds; where the graph still uses another factor (that of the width before pruning),
 * the quotient goes into what makes the queries. All other tensors are the graph's own, not copies.
 */
export function timmState(graph: Graph): Map<string, Tensor> {
  const state = stateDict(graph);
  const family = architectureOf(graph)?.family;
  if (!family?.queryRows) return state;
  const shapes = shapesOf(state);
  for (const { scope, scale, headDim } of queryScales(graph)) {
    const factor = scale / headDim ** -0.5;
    if (Math.abs(factor - 1) < 1e-6) continue;
    for (const [name, first, end] of family.queryRows(shapes, scope)) {
      state.set(name, scaledRows(state.get(name)!, first, end, factor));
    }
  }
  return state;
}

/** A copy with some rows multiplied, made when it is read. */
function scaledRows(tensor: Tensor, first: number, end: number, factor: number): Tensor {
  const width = tensor.size / tensor.shape[0]!;
  return new Tensor('float32', tensor.shape, () => {
    const data = tensor.floats.slice();
    for (let i = first * width; i < end * width; i++) data[i]! *= factor;
    return data;
  });
}
