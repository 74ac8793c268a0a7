import type { Graph, Node, Value } from '../graph/graph.ts';
import { isRandom } from '../graph/schema/traits.ts';
import type { Tensor } from '../graph/tensor.ts';
import { subgraphs } from '../graph/traversal.ts';

/**
 * Keeps one of what is there twice, in place.
 * 1. Constants of the same type, shape and content become the first of them.
 * 2. Nodes of the same op, attributes and inputs become the first of them.
 *
 * It does not fire on string constants, graph outputs, random ops, ops with subgraphs, and attributes
 * that are tensors.
 *
 * @returns how many constants and nodes went
 */
export function deduplicate(graph: Graph): number {
  return deduplicateConstants(graph) + deduplicateNodes(graph);
}

function deduplicateConstants(graph: Graph): number {
  const kept = new Map<string, Value[]>();
  let count = 0;
  for (const value of [...graph.constants.values()]) {
    const tensor = value.tensor!;
    if (tensor.dtype === 'string' || graph.outputs.includes(value) || graph.inputs.includes(value)) continue;
    const key = `${tensor.dtype}[${tensor.shape}]`;
    const alike = kept.get(key) ?? [];
    kept.set(key, alike);
    const twin = alike.find((other) => sameBytes(other.tensor!, tensor));
    if (!twin) {
      alike.push(value);
      continue;
    }
    graph.replaceUses(value, twin);
    graph.removeConstant(value);
    count++;
  }
  return count;
}

function sameBytes(a: Tensor, b: Tensor): boolean {
  if (a === b) return true;
  const [left, right] = [a.bytes, b.bytes];
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
}

function deduplicateNodes(graph: Graph): number {
  const kept = new Map<string, Node>();
  const gone: Node[] = [];
  for (const node of graph.nodes) {
    const key = nodeKey(node);
    if (key === undefined || node.outputs.some((value) => value && graph.outputs.includes(value))) continue;
    const twin = kept.get(key);
    if (!twin) {
      kept.set(key, node);
      continue;
    }
    node.outputs.forEach((value, i) => {
      if (value) graph.replaceUses(value, twin.output(i));
    });
    gone.push(node);
  }
  graph.removeNodes(gone);
  return gone.length;
}

/** Equal for nodes that compute the same; undefined where that can't be said. */
function nodeKey(node: Node): string | undefined {
  if (isRandom(node) || subgraphs(node).length > 0) return undefined;
  const attributes: string[] = [];
  for (const [name, { kind, value }] of [...node.attributes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (kind === 'tensor' || kind === 'opaque') return undefined;
    attributes.push(`${name}:${kind}=${value}`);
  }
  const present = node.outputs.map((value) => (value ? 1 : 0)).join('');
  return `${node.op}|${attributes}|${node.inputs.map((value) => value?.name ?? '')}|${present}`;
}
