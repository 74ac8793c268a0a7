import type { Value } from '../../graph/graph.ts';
import { joinHeads, scaledDotProduct, splitHeads, splitPacked } from './attention.ts';
import { conv, fanOutStart } from './convolution.ts';
import { type Layers, lastDim } from './layers.ts';
import { imageToTokens, tokensToImage } from './layout.ts';

export interface ReducedAttentionOptions {
  heads: number;
  qkvBias: boolean;
  /** What makes the fewer tokens of keys and values, `[N, T, C] -> [N, T', C]`; absent: all. */
  reduce?: ((x: Value) => Value) | undefined;
}

/**
 * Attention of every token to a summary of the image ("Pyramid Vision Transformer", arXiv 2102.12122), with the
 * layers `q`, `kv` and `proj`. `[N, T, C] -> [N, T, C]`.
 */
export function reducedAttention(layers: Layers, x: Value, options: ReducedAttentionOptions): Value {
  const { heads, qkvBias: bias, reduce } = options;
  const width = lastDim(x);
  const q = splitHeads(layers, layers.linear('q', x, width, { bias }), heads);
  const packed = layers.linear('kv', reduce ? reduce(x) : x, 2 * width, { bias });
  const [k, v] = splitPacked(layers, packed, ['k', 'v'], heads) as [Value, Value];
  return layers.linear('proj', joinHeads(layers, scaledDotProduct(layers, q, k, v)), width);
}

/** Tokens of an image of `size` made fewer by a strided convolution `sr` and a norm `norm`. */
export function reduceTokens(
  layers: Layers,
  x: Value,
  size: readonly [number, number],
  ratio: number,
  adjust: (image: Value) => Value = (image) => image,
): Value {
  const width = lastDim(x);
  const reduced = conv(layers, 'sr', adjust(tokensToImage(layers, x, size)), width, {
    kernel: ratio,
    stride: ratio,
    ...fanOutStart(ratio, width),
  });
  return layers.norm('norm', imageToTokens(layers, reduced, 'reduced'), { kind: 'layer', epsilon: 1e-5 });
}
