import type { Value } from '../../graph/graph.ts';
import { plainAttention } from './attention.ts';
import type { ActivationName, NormSpec } from './layer-spec.ts';
import { type Layers, lastDim } from './layers.ts';
import { plainMlp } from './mlp.ts';
import { preNormBlock } from './transformer-block.ts';

export interface VitBlockOptions {
  heads: number;
  mlpRatio: number;
  norm: NormSpec;
  qkvBias?: boolean;
  activation?: ActivationName;
}

/** The block of the first ViT, which other architectures build on: `[N, T, C] -> [N, T, C]`. */
export function vitBlock(layers: Layers, x: Value, options: VitBlockOptions): Value {
  const { heads, mlpRatio, norm, qkvBias = true, activation = 'gelu' } = options;
  return preNormBlock(layers, x, {
    norm,
    attend: (tokens) => plainAttention(layers, tokens, heads, qkvBias),
    feed: (tokens) => plainMlp(layers, tokens, Math.trunc(lastDim(x) * mlpRatio), activation),
  });
}
