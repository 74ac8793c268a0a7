import type { Value } from '../../../graph/graph.ts';
import { Tensor } from '../../../graph/tensor.ts';
import { scaledDotProduct } from '../../layers/attention.ts';
import { distanceBias } from '../../layers/distance-bias.ts';
import { joinImageHeads, splitImageHeads } from '../../layers/image-heads.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { channelsFirst, channelsLast, imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { leanConv } from '../../layers/lean-stages.ts';
import { inPaddedWindows } from '../../layers/padded-windows.ts';

export interface CascadeOptions {
  heads: number;
  /** Channels of a query. */
  keyWidth: number;
  /** Height and width of a window; an image that is not larger is one. */
  window: number;
  /** Of the convolution of each head's queries. */
  kernels: readonly number[];
}

/** What a convolution and its BatchNorm are called. */
export const names = ['conv', 'bn'] as const;

/** Attention within windows, in the scope `attn`: `[N, C, H, W] -> [N, C, H, W]`. */
export function windowedAttention(layers: Layers, x: Value, options: CascadeOptions): Value {
  const { window } = options;
  const attend = (image: Value) => layers.scope('attn', () => cascade(layers, image, options));
  if (dimOf(x, 2) <= window && dimOf(x, 3) <= window) return attend(x);
  const windows = inPaddedWindows(layers, channelsLast(layers, x), window, (tokens) =>
    imageToTokens(layers, attend(tokensToImage(layers, tokens, [window, window]))),
  );
  return channelsFirst(layers, windows);
}

/** Heads over parts of the channels, one after the other: each takes what the one before it has made to its own part. */
function cascade(layers: Layers, x: Value, { heads, keyWidth, kernels }: CascadeOptions): Value {
  const b = layers.builder;
  const [width, size] = [dimOf(x, 1), [dimOf(x, 2), dimOf(x, 3)] as const];
  /** As timm computes it, by the ratio of the two widths. */
  const values = Math.trunc((width / (keyWidth * heads)) * keyWidth);
  const biases = distanceBias(layers, heads, size);
  const parts = b.node('Split', [x], { axis: 1, num_outputs: heads }, heads, 'head_input');
  const outputs: Value[] = [];
  for (let head = 0; head < heads; head++) {
    const before = outputs.at(-1);
    const own = parts.output(head);
    const input = before ? b.op('Add', [before, own], {}, 'cascaded') : own;
    const packed = leanConv(layers, `qkvs.${head}`, input, 2 * keyWidth + values, { kernel: 1, names });
    const cut = b.node('Split', [packed, b.ints([keyWidth, keyWidth, values])], { axis: 1 }, 3, 'part');
    const kernel = kernels[head]!;
    const local = { kernel, padding: Math.floor(kernel / 2), groups: keyWidth, names };
    const queries = leanConv(layers, `dws.${head}`, cut.output(0), keyWidth, local);
    const [q, k, v] = [queries, cut.output(1), cut.output(2)].map((part) => splitImageHeads(layers, part, 1));
    const bias = b.op('Gather', [biases, Tensor.scalar(head, 'int64')], { axis: 0 }, 'head_bias');
    const context = scaledDotProduct(layers, q!, k!, v!, { biases: [bias] });
    outputs.push(joinImageHeads(layers, context, size));
  }
  const joined = heads > 1 ? b.op('Concat', outputs, { axis: 1 }, 'heads_joined') : outputs[0]!;
  const active = layers.scope('proj', () => layers.activation(joined, 'relu'));
  return leanConv(layers, 'proj.1', active, width, { kernel: 1, names }, 0);
}
