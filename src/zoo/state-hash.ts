import type { Graph } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';

/**
 * A fingerprint of a model's parameter names and shapes: the first 16 hex digits of the sha256 of the
 * sorted lines `name:[shape]`. Equal for models whose checkpoints fit each other.
 */
export async function stateHash(graph: Graph): Promise<string> {
  const lines = parameters(graph).map((value) => `${value.name}:[${value.staticShape.join(', ')}]`);
  const bytes = new TextEncoder().encode(lines.sort().join('\n'));
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
