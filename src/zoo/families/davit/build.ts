import type { Graph, Value } from '../../../graph/graph.ts';
import { attention, joinHeads, splitPacked } from '../../layers/attention.ts';
import { conv } from '../../layers/convolution.ts';
import { classifierHead } from '../../layers/head.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { channelsFirst, channelsLast, imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { inWindows } from '../../layers/shifted-windows.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type AttentionKind, type DavitArgs, davitArgs } from './arguments.ts';

/**
 * timm's DaVit ("DaViT: Dual Attention Vision Transformers", arXiv 2204.03645): attention among the places of a window
 * and attention among channels, in turn.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildDavit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = davitArgs(modelArgs);
  const layers = new Layers('DaVit', source);
  const { norm, embed_dims } = args;
  let x = layers.scope('stem', () => {
    const image = padded(layers, layers.images(args.in_chans, args.img_size), 4);
    const patches = conv(layers, 'conv', image, embed_dims[0]!, { kernel: 7, stride: 4, padding: 3 });
    return layers.channelNorm('norm', patches, norm);
  });
  args.depths.forEach((depth, stage) => {
    x = layers.scope(`stages.${stage}`, () => {
      let y = stage > 0 ? layers.scope('downsample', () => downsample(layers, x, args, stage)) : x;
      for (let i = 0; i < depth; i++) {
        args.kinds.forEach((kind, index) => {
          const name = `blocks.${i}.${args.named_blocks ? `${kind}_block` : index}`;
          y = layers.scope(name, () => block(layers, y, args, kind, args.num_heads[stage]!));
        });
      }
      return y;
    });
  });
  if (args.head_norm_first) x = layers.channelNorm('norm_pre', x, norm);
  return layers.finish(
    classifierHead(layers, 'head', x, {
      classes: args.num_classes,
      pool: args.global_pool,
      axes: [2, 3],
      ...(args.head_norm_first ? {} : { norm }),
    }),
  );
}

/** Zeros below and right, to multiples of a size. */
function padded(layers: Layers, x: Value, multiple: number): Value {
  const b = layers.builder;
  const [below, right] = [2, 3].map((axis) => (multiple - (dimOf(x, axis) % multiple)) % multiple);
  if (!below && !right) return x;
  return b.op('Pad', [x, b.ints([0, 0, 0, 0, 0, 0, below!, right!])], {}, 'padded');
}

/** Half the size, from normed channels; even kernels are not padded around but to a whole number of them. */
function downsample(layers: Layers, x: Value, args: DavitArgs, stage: number): Value {
  const kernel = args.down_kernel_size;
  const even = kernel % 2 === 0;
  const normed = layers.channelNorm('norm', x, args.norm);
  return conv(layers, 'conv', even ? padded(layers, normed, kernel) : normed, args.embed_dims[stage]!, {
    kernel,
    stride: 2,
    padding: even ? 0 : Math.floor(kernel / 2),
  });
}

/** An image and what its neighbourhoods say of each place. */
function positionEncoding(layers: Layers, name: string, x: Value, args: DavitArgs): Value {
  return layers.scope(name, () => {
    const channels = dimOf(x, 1);
    const near = conv(layers, 'proj', x, channels, { kernel: 3, padding: 1, groups: channels });
    const active = args.cpe_act ? layers.activation(near, 'gelu') : near;
    return layers.builder.op('Add', [x, active], {}, 'encoded');
  });
}

/** `[N, C, H, W]` to the same. */
function block(layers: Layers, x: Value, args: DavitArgs, kind: AttentionKind, heads: number): Value {
  const b = layers.builder;
  const first = channelsLast(layers, positionEncoding(layers, 'cpe1', x, args));
  const normed = layers.norm('norm1', first, args.norm);
  const attended = layers.scope('attn', () =>
    kind === 'spatial' ? windowed(layers, normed, args, heads) : amongChannels(layers, normed, args, heads),
  );
  const middle = channelsFirst(layers, b.op('Add', [first, attended], {}, 'residual1'));
  const second = positionEncoding(layers, 'cpe2', middle, args);
  if (!args.ffn) return second;
  const places = channelsLast(layers, second);
  const hidden = Math.trunc(lastDim(places) * args.mlp_ratio);
  const fed = plainMlp(layers, layers.norm('norm2', places, args.norm), hidden, 'gelu');
  return channelsFirst(layers, b.op('Add', [places, fed], {}, 'residual2'));
}

const windowed = (layers: Layers, x: Value, args: DavitArgs, heads: number) =>
  inWindows(layers, x, { window: args.window, shift: [0, 0] }, (windows) =>
    attention(layers, windows, {
      heads,
      qkvBias: args.qkv_bias,
      projBias: true,
      qkNorm: undefined,
      scaleNorm: undefined,
    }),
  );

/**
 * Attention among the channels of a head, over all places: softmax(k^T v) q^T, or in the second form softmax(q^T k) v^T,
 * scaled by the number of places.
 */
function amongChannels(layers: Layers, x: Value, args: DavitArgs, heads: number): Value {
  const b = layers.builder;
  const [height, breadth, width] = [dimOf(x, 1), dimOf(x, 2), lastDim(x)];
  const tokens = imageToTokens(layers, channelsFirst(layers, x));
  const packed = layers.linear('qkv', tokens, 3 * width, { bias: args.qkv_bias });
  const [q, k, v] = splitPacked(layers, packed, ['q', 'k', 'v'], heads) as [Value, Value, Value];
  const [left, right, mixed] = args.channel_attn_v2 ? [q, k, v] : [k, v, q];
  const scale = (args.channel_attn_v2 ? height * breadth : width / heads) ** -0.5;
  const turned = (value: Value, name: string) => b.op('Transpose', [value], { perm: [0, 1, 3, 2] }, name);
  const scaled = b.op('Mul', [left, b.scalar(scale)], {}, 'scaled');
  const scores = b.op('MatMul', [turned(scaled, 'channels_by_token'), right], {}, 'scores');
  const weights = b.op('Softmax', [scores], { axis: -1 }, 'channel_weights');
  const context = b.op('MatMul', [weights, turned(mixed, 'mixed_by_channel')], {}, 'context');
  const joined = joinHeads(layers, turned(context, 'tokens_by_channel'));
  const projected = layers.linear('proj', joined, width);
  return channelsLast(layers, tokensToImage(layers, projected, [height, breadth]));
}
