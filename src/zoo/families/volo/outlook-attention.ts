import type { Value } from '../../../graph/graph.ts';
import { fold, type SlidingWindow, unfold } from '../../layers/fold.ts';
import { dimOf, type Layers, lastDim } from '../../layers/layers.ts';
import { channelsFirst, channelsLast } from '../../layers/layout.ts';
import { averagePool } from '../../layers/pool.ts';

/** The only window that timm's VOLO has. */
const window: SlidingWindow = { kernel: 3, stride: 2, padding: 1 };

/**
 * Attention within a sliding window whose weights are said by the pixels under it, not by products of queries and
 * keys ("VOLO", arXiv 2106.13112): `[N, H, W, C] -> [N, H, W, C]`.
 */
export function outlookAttention(
  layers: Layers,
  x: Value,
  { heads, qkvBias }: { heads: number; qkvBias: boolean },
): Value {
  const b = layers.builder;
  const width = lastDim(x);
  const pixels = window.kernel ** 2;
  const size = [dimOf(x, 1), dimOf(x, 2)] as const;

  const seen = unfold(layers, layers.linear('v', x, width, { bias: qkvBias }), window);
  const places = dimOf(seen, 1);
  const boxed = b.op('Reshape', [seen, b.ints([0, 0, pixels, heads, -1])], {}, 'heads');
  const v = b.op('Transpose', [boxed], { perm: [0, 1, 3, 2, 4] }, 'heads_first');

  const pool = { kernel: window.stride, stride: window.stride, ceil: true, countPadding: false };
  const pooled = channelsLast(layers, averagePool(layers, channelsFirst(layers, x), pool));
  const said = layers.linear('attn', pooled, pixels ** 2 * heads);
  const scores = b.op('Reshape', [said, b.ints([0, places, heads, pixels, pixels])], {}, 'scores');
  const scaled = b.op('Mul', [scores, b.scalar((width / heads) ** -0.5)], {}, 'scores_scaled');
  const weights = b.op('Softmax', [scaled], { axis: -1 }, 'softmax');

  const context = b.op('MatMul', [weights, v], {}, 'context');
  const pixelsFirst = b.op('Transpose', [context], { perm: [0, 1, 3, 2, 4] }, 'pixels_first');
  const joined = b.op('Reshape', [pixelsFirst, b.ints([0, 0, 0, -1])], {}, 'joined');
  return layers.linear('proj', fold(layers, joined, size, window), width);
}
