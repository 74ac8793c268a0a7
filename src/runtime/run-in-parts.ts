import type { Graph, Node, Value } from '../graph/graph.ts';
import { partOf } from '../graph/part.ts';
import { storedBytes } from '../graph/tensor.ts';
import { subgraphs } from '../graph/traversal.ts';
import { type Engine, runOnce, type Tensors, withoutPacking } from './session.ts';

/** Rewriting the graph takes longer than it saves in one run. */
const asItStands = { ...withoutPacking, optimization: 'disabled' } as const;

/**
 * Runs a graph once, a stretch of nodes after the other, so that only the weights of one stretch are in memory:
 * a model of several gigabytes takes no more than its activations and a few hundred megabytes.
 * @param feeds by input name
 * @param partBytes of the weights that are in memory at a time; the engine takes up to three times as much for them
 * @returns the outputs by name
 */
export async function runInParts(
  engine: Engine,
  graph: Graph,
  feeds: Tensors,
  partBytes = 1 << 26,
): Promise<Tensors> {
  const stretches = stretchesOf(graph, partBytes);
  if (stretches.length < 2) return runOnce(engine, graph, feeds, asItStands);
  const lastUse = new Map<Value, number>();
  stretches.forEach((nodes, i) => {
    for (const node of nodes) for (const value of node.inputs) if (value) lastUse.set(value, i);
  });
  for (const value of graph.outputs) lastUse.set(value, stretches.length);
  const live: Tensors = { ...feeds };
  for (const [i, nodes] of stretches.entries()) {
    const made = nodes.flatMap((node) => node.outputs).filter((value) => value !== undefined);
    const outputs = made.filter((value) => (lastUse.get(value) ?? -1) > i);
    const part = partOf(graph, nodes, outputs);
    const given = Object.fromEntries(part.inputs.map((value) => [value.name, live[value.name]!]));
    Object.assign(live, await runOnce(engine, part.graph, given, asItStands));
    for (const value of part.graph.constants.values()) value.tensor!.release();
    for (const value of part.inputs) if (lastUse.get(value) === i) delete live[value.name];
  }
  return Object.fromEntries(graph.outputs.map((value) => [value.name, live[value.name] ?? value.tensor!]));
}

/** The nodes in order, cut where the weights reach the limit; one piece where nodes have graphs inside. */
function stretchesOf(graph: Graph, partBytes: number): Node[][] {
  if (graph.nodes.some((node) => subgraphs(node).length > 0)) return [[...graph.nodes]];
  const stretches: Node[][] = [];
  let filled = Number.POSITIVE_INFINITY;
  for (const node of graph.nodes) {
    const weights = node.inputs.filter((value) => value?.isConstant);
    const bytes = weights.reduce((sum, value) => sum + sizeOf(value!), 0);
    if (filled + bytes > partBytes) {
      stretches.push([]);
      filled = 0;
    }
    stretches.at(-1)!.push(node);
    filled += bytes;
  }
  return stretches;
}

const sizeOf = ({ tensor }: Value) => storedBytes(tensor!.dtype, tensor!.shape) || 0;
