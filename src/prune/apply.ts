import { Builder } from '../graph/builder.ts';
import type { Graph } from '../graph/graph.ts';
import { inferGraph } from '../graph/infer.ts';
import { dataTypes, type NumericType, Tensor, type TypedArray } from '../graph/tensor.ts';
import type { Plan } from './plan.ts';
import { Removal } from './removal.ts';
import { rewriteNode } from './rewrite-rules.ts';

/**
 * Indices that were kept, by name and axis, of all constants that lost some: parameters, running statistics, folded numbers. Axes that
 * lost nothing are left out.
 */
export type Kept = Record<string, Record<string, number[]>>;

export interface Pruned {
  graph: Graph;
  kept: Kept;
}

/**
 * A copy of the graph without the channels of a plan. Parameters are sliced when they are first read;
 * the numbers in Reshape, Split, Slice and the like follow. The graph itself is not changed.
 * @param plan for groups of this graph
 */
export function applyPlan(graph: Graph, plan: Plan): Pruned {
  const removal = new Removal(plan);
  const { graph: copy } = graph.clone();
  const kept: Kept = {};
  for (const constant of removal.constants) {
    const axes = new Map<number, number[]>();
    constant.tensor!.shape.forEach((_, axis) => {
      const indices = removal.kept(constant, axis);
      if (indices) axes.set(axis, indices);
    });
    if (axes.size === 0) continue;
    const twin = copy.constants.get(constant.name)!;
    copy.setConstant(twin, sliced(constant.tensor!, axes));
    for (const { node } of twin.uses) for (const output of node.outputs) if (output) output.shape = undefined;
    kept[constant.name] = Object.fromEntries([...axes].map(([axis, indices]) => [String(axis), indices]));
  }
  const builder = new Builder(copy);
  graph.nodes.forEach((node, i) => {
    rewriteNode(node, copy.nodes[i]!, removal, builder);
  });
  for (const [name, value] of [...copy.constants]) {
    if (value.uses.length === 0 && graph.constants.get(name)?.uses.length) copy.removeConstant(value);
  }
  inferGraph(copy);
  return { graph: copy, kept };
}

/** The tensor without the indices that are not kept, read when its elements are asked for. */
function sliced(source: Tensor, axes: ReadonlyMap<number, readonly number[]>): Tensor {
  const shape = source.shape.map((dim, axis) => axes.get(axis)?.length ?? dim);
  const dtype = source.dtype as NumericType;
  return new Tensor(dtype, shape, () => {
    let data = source.data as TypedArray;
    let dims = source.shape;
    for (const [axis, indices] of axes) {
      data = take(data, dtype, dims, axis, indices);
      dims = dims.with(axis, indices.length);
    }
    source.release();
    return data;
  });
}

function take(
  data: TypedArray,
  dtype: NumericType,
  dims: readonly number[],
  axis: number,
  indices: readonly number[],
): TypedArray {
  const inner = dims.slice(axis + 1).reduce((p, d) => p * d, 1);
  const length = dims[axis]! * inner;
  const outer = data.length / length;
  const taken = new dataTypes[dtype].array(outer * indices.length * inner);
  const runs = runsOf(indices);
  let at = 0;
  for (let start = 0; start < data.length; start += length) {
    for (let run = 0; run < runs.length; run += 2) {
      let from = start + runs[run]! * inner;
      const end = from + runs[run + 1]! * inner;
      if (inner > 1) {
        taken.set(data.subarray(from, end) as never, at);
        at += end - from;
      } else while (from < end) taken[at++] = data[from++]!;
    }
  }
  return taken;
}

/** First index and length of each run of neighbours. */
function runsOf(indices: readonly number[]): Int32Array {
  const runs: number[] = [];
  for (const [i, index] of indices.entries()) {
    if (i > 0 && indices[i - 1] === index - 1) runs[runs.length - 1]!++;
    else runs.push(index, 1);
  }
  return Int32Array.from(runs);
}
