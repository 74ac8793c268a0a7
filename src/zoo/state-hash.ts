import type { Graph } from '../graph/graph.ts';
import { shapesOf, stateDict } from './state.ts';

/**
 * A fingerprint of a model's state dict: the first 16 hex digits of the sha256 of the sorted lines
 * `name:[shape]`. Equal for models whose checkpoints fit each other; null where none is on record.
 */
export async function stateHash(graph: Graph): Promise<string | null> {
  const lines = [...shapesOf(stateDict(graph))].map(([name, shape]) => `${name}:[${shape.join(', ')}]`);
  if (lines.length === 0) return null;
  const bytes = new TextEncoder().encode(lines.sort().join('\n'));
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
