import type { Value } from '../../graph/graph.ts';
import { joinHeads, scaledDotProduct, splitHeads, splitPacked } from './attention.ts';
import { type Layers, lastDim } from './layers.ts';
import { leadingTokens } from './pool.ts';

export interface ClassAttentionOptions {
  heads: number;
  qkvBias: boolean;
  /** Names of the three Linears. */
  names?: readonly [q: string, k: string, v: string];
  /** Whether one Linear `kv` makes keys and values; `names` are then not asked for. */
  packed?: boolean;
}

/**
 * Attention of the first token to all, itself included ("Going deeper with Image Transformers", arXiv 2103.17239):
 * `[N, T, C] -> [N, 1, C]`.
 */
export function classAttention(layers: Layers, x: Value, options: ClassAttentionOptions): Value {
  const { heads, qkvBias: bias, names = ['q', 'k', 'v'], packed = false } = options;
  const width = lastDim(x);
  if (packed) {
    const query = splitHeads(layers, layers.linear('q', leadingTokens(layers, x, 1), width, { bias }), heads);
    const both = layers.linear('kv', x, 2 * width, { bias });
    const [key, value] = splitPacked(layers, both, ['k', 'v'], heads) as [Value, Value];
    return layers.linear('proj', joinHeads(layers, scaledDotProduct(layers, query, key, value)), width);
  }
  const sources = [leadingTokens(layers, x, 1), x, x];
  const [q, k, v] = names.map((name, i) =>
    splitHeads(layers, layers.linear(name, sources[i]!, width, { bias }), heads),
  ) as [Value, Value, Value];
  return layers.linear('proj', joinHeads(layers, scaledDotProduct(layers, q, k, v)), width);
}
