import type { Value } from '../../../graph/graph.ts';
import { joinHeads, scaledDotProduct, splitPacked } from '../../layers/attention.ts';
import { conv } from '../../layers/convolution.ts';
import { joinImageHeads, splitPackedImage } from '../../layers/image-heads.ts';
import { imageMlp } from '../../layers/image-mlp.ts';
import { imageNorm } from '../../layers/image-norm.ts';
import { imageScale } from '../../layers/image-scale.ts';
import { dimOf, type Layers, lastDim } from '../../layers/layers.ts';
import { gridPartition, gridReverse, windowPartition, windowReverse } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import {
  relativePositionBias,
  relativePositionGrid,
  relativePositionMlp,
  signedLog,
} from '../../layers/relative-position.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { TransformerArgs } from './arguments.ts';
import { downsample } from './convolutions.ts';
import { transformerStart, type WeightScheme } from './initializers.ts';

type Size = readonly [height: number, width: number];

/** What is added to the scores of each pair of places, `[heads, T, T]`; none where the model has none. */
function positionBiases(layers: Layers, window: Size, heads: number, args: TransformerArgs): Value[] {
  const { positions, positionHidden: hidden } = args;
  return layers.scope('rel_pos', () => {
    if (positions === 'bias') return [relativePositionBias(layers, { window, heads })];
    if (positions === 'bias_tf') return [relativePositionGrid(layers, window, heads)];
    if (positions === '') return [];
    const names = ['mlp.fc1', 'mlp.fc2'] as const;
    const options = { window, heads, hidden, names, coordinate: signedLog, bias: true };
    return [relativePositionMlp(layers, options)];
  });
}

const qkv = ['q', 'k', 'v'] as const;
type Qkv = [q: Value, k: Value, v: Value];

/** Attention over a whole image, by 1x1 convolutions: `[N, C, H, W] -> [N, channels, H, W]`. */
function imageAttention(
  layers: Layers,
  x: Value,
  args: TransformerArgs,
  channels: number,
  scheme: WeightScheme,
): Value {
  const size = [dimOf(x, 2), dimOf(x, 3)] as const;
  const width = args.expandFirst ? channels : dimOf(x, 1);
  const heads = width / args.headDim;
  const pointwise = (name: string, input: Value, outputs: number) => {
    const start = transformerStart(scheme, dimOf(input, 1), outputs, false);
    return conv(layers, name, input, outputs, { kernel: 1, bias: args.bias, ...start });
  };
  return layers.scope('attn', () => {
    const [q, k, v] = splitPackedImage(layers, pointwise('qkv', x, 3 * width), qkv, heads) as Qkv;
    const biases = positionBiases(layers, size, heads, args);
    const context = scaledDotProduct(layers, q, k, v, { biases });
    return pointwise('proj', joinImageHeads(layers, context, size), channels);
  });
}

/** timm's `TransformerBlock2d`, of images: `[N, C, H, W] -> [N, channels, H / stride, W / stride]`. */
export function imageTransformer(
  layers: Layers,
  x: Value,
  args: TransformerArgs,
  channels: number,
  stride: number,
  scheme: WeightScheme,
): Value {
  const b = layers.builder;
  const start = (inputs: number, outputs: number) => transformerStart(scheme, inputs, outputs, true);
  const scaled = (name: string, branch: Value) =>
    args.layerScale ? imageScale(layers, name, branch, args.layerScale) : branch;
  const smaller = (name: string, input: Value, outputs: number, bias: boolean) =>
    downsample(layers, name, input, {
      channels: outputs,
      pool: args.poolType,
      bias,
      start: transformerStart(scheme, dimOf(input, 1), outputs, false),
    });
  const shortcut = stride === 1 ? x : smaller('shortcut', x, channels, args.shortcutBias);
  const normed =
    stride === 1
      ? imageNorm(layers, 'norm1', x, args.norm)
      : layers.scope('norm1', () =>
          smaller('down', imageNorm(layers, 'norm', x, args.norm), dimOf(x, 1), true),
        );
  const attended = scaled('ls1', imageAttention(layers, normed, args, channels, scheme));
  const middle = b.op('Add', [shortcut, attended], {}, 'residual1');
  const fed = imageMlp(layers, imageNorm(layers, 'norm2', middle, args.norm), {
    hidden: Math.trunc(channels * args.expandRatio),
    activation: args.activation,
    start,
  });
  return b.op('Add', [middle, scaled('ls2', fed)], {}, 'residual2');
}

/** How an image is cut into parts among whose places there is attention. */
type Partition = 'window' | 'grid';

const partitions = {
  window: { cut: windowPartition, join: windowReverse },
  grid: { cut: gridPartition, join: gridReverse },
} as const;

/** Attention in the parts of an image, `[N, H, W, C] -> [N, H, W, channels]`. */
function partAttention(
  layers: Layers,
  name: string,
  x: Value,
  partition: Partition,
  args: TransformerArgs,
  channels: number,
): Value {
  const { cut, join } = partitions[partition];
  const part = args[partition];
  const width = lastDim(x);
  const heads = width / args.headDim;
  return layers.scope(name, () => {
    const parts = cut(layers, x, part);
    const packed = layers.linear('qkv', parts, 3 * width, { bias: args.bias });
    const [q, k, v] = splitPacked(layers, packed, qkv, heads, args.headFirst) as Qkv;
    const biases = positionBiases(layers, part, heads, args);
    const context = joinHeads(layers, scaledDotProduct(layers, q, k, v, { biases }));
    const projected = layers.linear('proj', context, channels, { bias: args.bias });
    return join(layers, projected, part, [dimOf(x, 1), dimOf(x, 2)]);
  });
}

/** A block of an image `[N, H, W, C]` in the present scope, with an MLP behind its attention. */
function partBlock(layers: Layers, x: Value, args: TransformerArgs, attend: (x: Value) => Value): Value {
  const { layerScale, activation, expandRatio } = args;
  return preNormBlock(layers, x, {
    norm: args.tokenNorm,
    attend,
    feed: (y) => plainMlp(layers, y, Math.trunc(lastDim(x) * expandRatio), activation),
    scale: (branch, index) => (layerScale ? layers.layerScale(`ls${index}`, branch, layerScale) : branch),
  });
}

/** Attention in windows and then in grids, each with an MLP ("MaxViT", arXiv 2204.01697): `[N, H, W, C]`. */
export function windowsThenGrids(layers: Layers, x: Value, args: TransformerArgs): Value {
  const block = (name: string, image: Value, partition: Partition) =>
    layers.scope(name, () =>
      partBlock(layers, image, args, (y) => partAttention(layers, 'attn', y, partition, args, lastDim(y))),
    );
  const near = args.withWindows ? block('attn_block', x, 'window') : x;
  return block('attn_grid', near, 'grid');
}

/** Both at once, each of which makes half of the channels, before one MLP: `[N, H, W, C]`. */
export function windowsBesideGrids(layers: Layers, x: Value, args: TransformerArgs): Value {
  return layers.scope('attn', () =>
    partBlock(layers, x, args, (y) => {
      const half = lastDim(y) / 2;
      const near = partAttention(layers, 'attn_block', y, 'window', args, half);
      const far = partAttention(layers, 'attn_grid', y, 'grid', args, half);
      return layers.builder.op('Concat', [near, far], { axis: -1 }, 'near_and_far');
    }),
  );
}
