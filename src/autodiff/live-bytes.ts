import type { Graph, Value } from '../graph/graph.ts';
import type { OpName } from '../graph/schema/signature.ts';
import { bytesPerImage } from './cuts.ts';

/** Ops whose result is their input under another shape: no memory of its own. */
const views: ReadonlySet<string> = new Set<OpName>([
  'Reshape',
  'Unsqueeze',
  'Squeeze',
  'Flatten',
  'Identity',
]);

/**
 * The most bytes that computed values take at once when a graph's nodes run in their order, each value kept from its node
 * to its last reader, outputs to the end. Inputs, constants, and what is computed from constants alone do not count.
 * @param images how many go through together
 */
export function liveBytes(graph: Graph, images: number): number {
  const computed = new Set<Value>(graph.inputs.filter((input) => !input.isConstant));
  const owners = new Map<Value, Value>();
  const ownerOf = (value: Value): Value => owners.get(value) ?? value;
  const lastUse = new Map<Value, number>();
  graph.nodes.forEach((node, at) => {
    const inputs = node.inputs.filter((value) => value !== undefined);
    for (const value of inputs) lastUse.set(ownerOf(value), at);
    if (!inputs.some((value) => computed.has(value))) return;
    for (const output of node.outputs) {
      if (!output) continue;
      computed.add(output);
      if (views.has(node.op)) owners.set(output, ownerOf(node.input(0)));
    }
  });
  for (const output of graph.outputs) lastUse.set(ownerOf(output), graph.nodes.length);
  const freed = new Map<number, number>();
  let live = 0;
  let most = 0;
  graph.nodes.forEach((node, at) => {
    for (const output of node.outputs) {
      if (!output || !computed.has(output) || owners.has(output)) continue;
      const bytes = bytesOf(output, images);
      const end = lastUse.get(output) ?? at;
      live += bytes;
      freed.set(end, (freed.get(end) ?? 0) + bytes);
    }
    most = Math.max(most, live);
    live -= freed.get(at) ?? 0;
  });
  return most;
}

const bytesOf = (value: Value, images: number): number =>
  bytesPerImage(value) * (value.shape?.some((dim) => typeof dim === 'string') ? images : 1);
