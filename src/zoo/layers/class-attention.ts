import type { Value } from '../../graph/graph.ts';
import { joinHeads, scaledDotProduct, splitHeads } from './attention.ts';
import { type Layers, lastDim } from './layers.ts';
import { leadingTokens } from './pool.ts';

export interface ClassAttentionOptions {
  heads: number;
  qkvBias: boolean;
  /** Names of the three Linears. */
  names?: readonly [q: string, k: string, v: string];
}

/**
 * Attention of the first token to all, itself included ("Going deeper with Image Transformers", arXiv 2103.17239):
 * `[N, T, C] -> [N, 1, C]`.
 */
export function classAttention(layers: Layers, x: Value, options: ClassAttentionOptions): Value {
  const { heads, qkvBias: bias, names = ['q', 'k', 'v'] } = options;
  const width = lastDim(x);
  const sources = [leadingTokens(layers, x, 1), x, x];
  const [q, k, v] = names.map((name, i) =>
    splitHeads(layers, layers.linear(name, sources[i]!, width, { bias }), heads),
  ) as [Value, Value, Value];
  return layers.linear('proj', joinHeads(layers, scaledDotProduct(layers, q, k, v)), width);
}
