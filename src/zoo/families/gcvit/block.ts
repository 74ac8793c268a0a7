import type { Value } from '../../../graph/graph.ts';
import { joinHeads, scaledDotProduct, splitHeads, splitPacked } from '../../layers/attention.ts';
import { dimOf, type Layers, lastDim } from '../../layers/layers.ts';
import { windowPartition, windowReverse } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { relativePositionBias } from '../../layers/relative-position.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { GcvitArgs } from './arguments.ts';

export interface BlockPlan {
  window: readonly [height: number, width: number];
  heads: number;
  /** The image `[N, h, w, C]` of a window's size that has the queries of all windows; absent: each has its own. */
  queries: Value | undefined;
}

/** timm's `GlobalContextVitBlock`: `[N, H, W, C] -> [N, H, W, C]`. */
export function block(layers: Layers, x: Value, args: GcvitArgs, plan: BlockPlan): Value {
  const { layer_scale, tokenNorm: norm } = args;
  const size = [dimOf(x, 1), dimOf(x, 2)] as const;
  return preNormBlock(layers, x, {
    norm,
    attend: (image) => {
      const windows = windowPartition(layers, image, plan.window);
      const count = (size[0] * size[1]) / (plan.window[0] * plan.window[1]);
      const attended = layers.scope('attn', () => attention(layers, windows, args, plan, count));
      return windowReverse(layers, attended, plan.window, size);
    },
    feed: (image) => plainMlp(layers, image, Math.trunc(lastDim(image) * args.mlp_ratio), args.activation),
    ...(layer_scale === undefined
      ? {}
      : { scale: (branch, index) => layers.layerScale(`ls${index}`, branch, layer_scale) }),
  });
}

/** Attention in windows `[N * count, T, C]`. */
function attention(
  layers: Layers,
  x: Value,
  { qkv_bias: bias }: GcvitArgs,
  { window, heads, queries }: BlockPlan,
  count: number,
): Value {
  const b = layers.builder;
  const [tokens, width] = [dimOf(x, 1), lastDim(x)];
  const biases = [layers.scope('rel_pos', () => relativePositionBias(layers, { window, heads }))];
  if (!queries) {
    const packed = layers.linear('qkv', x, 3 * width, { bias });
    const [q, k, v] = splitPacked(layers, packed, ['q', 'k', 'v'], heads) as [Value, Value, Value];
    return layers.linear('proj', joinHeads(layers, scaledDotProduct(layers, q, k, v, { biases })), width);
  }
  const [k, v] = splitPacked(layers, layers.linear('qkv', x, 2 * width, { bias }), ['k', 'v'], heads).map(
    (part) => b.op('Reshape', [part, b.ints([-1, count, heads, tokens, width / heads])], {}, 'by_image'),
  ) as [Value, Value];
  const flat = b.op('Reshape', [queries, b.ints([0, tokens, width])], {}, 'global_tokens');
  const q = b.op('Unsqueeze', [splitHeads(layers, flat, heads), b.ints([1])], {}, 'global_queries');
  const context = scaledDotProduct(layers, q, k, v, { biases });
  const byWindow = b.op('Reshape', [context, b.ints([-1, heads, tokens, width / heads])], {}, 'by_window');
  return layers.linear('proj', joinHeads(layers, byWindow), width);
}
