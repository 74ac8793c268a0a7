import type { Graph, Value } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';

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
    const scaled = node.input(0).producer?.inputs[0]?.producer;
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
  const state = new Map(parameters(graph).map((value): [string, Tensor] => [value.name, tensorOf(value)]));
  for (const { scope, scale, headDim } of queryScales(graph)) {
    const factor = scale / headDim ** -0.5;
    if (Math.abs(factor - 1) < 1e-6) continue;
    for (const [name, first, end] of queryRows(state, scope)) {
      state.set(name, scaledRows(state.get(name)!, first, end, factor));
    }
  }
  return state;
}

const tensorOf = (value: Value): Tensor => value.tensor!;

/** The parameters that queries are linear in, with the range of rows that are the queries'. */
function queryRows(state: ReadonlyMap<string, Tensor>, scope: string): [string, number, number][] {
  const rows = (module: string, range: (rows: number) => [number, number]) =>
    [`${scope}.${module}.weight`, `${scope}.${module}.bias`].flatMap((name): [string, number, number][] => {
      const tensor = state.get(name);
      return tensor ? [[name, ...range(tensor.shape[0]!)]] : [];
    });
  const normed = rows('q_norm', (count) => [0, count]);
  if (normed.length) return normed;
  const width = state.get(`${scope}.in_proj.weight`)?.shape[1] ?? 0;
  return [
    ...rows('qkv', (count) => [0, count / 3]),
    ...rows('in_proj', (count) => [count - 3 * width, count - 2 * width]),
    ...rows('q', (count) => [0, count]),
  ];
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
