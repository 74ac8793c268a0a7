import type { Value } from '../../../graph/graph.ts';
import { type ConvOptions, conv, halfPadding } from '../../layers/convolution.ts';
import { imageMlp } from '../../layers/image-mlp.ts';
import { imageNorm } from '../../layers/image-norm.ts';
import { imageScale } from '../../layers/image-scale.ts';
import type { ActivationName } from '../../layers/layer-spec.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { averagePool, maxPool } from '../../layers/pool.ts';
import { squeezeExcite } from '../../layers/squeeze-excite.ts';
import { makeDivisible } from '../../layers/widths.ts';
import type { ConvArgs, MaxxVitArgs, PoolType } from './arguments.ts';
import { convStart, type WeightScheme } from './initializers.ts';

type Start = Pick<ConvOptions, 'weightInitializer' | 'biasInitializer'>;

export interface DownsampleOptions {
  channels: number;
  pool: PoolType;
  bias?: boolean;
  /** Padded as TensorFlow does. */
  same?: boolean;
  start: Start;
}

const pools: Record<PoolType, (layers: Layers, x: Value, same: boolean) => Value> = {
  max: (layers, x, same) => maxPool(layers, x, { kernel: 3, stride: 2, padding: same ? 'same' : 1 }),
  max2: (layers, x) => maxPool(layers, x, { kernel: 2, stride: 2 }),
  /** timm pads with zeros of its own where it pads as TensorFlow does: these count. */
  avg: (layers, x, same) =>
    averagePool(layers, x, { kernel: 3, stride: 2, padding: same ? 'same' : 1, countPadding: same }),
  avg2: (layers, x) => averagePool(layers, x, { kernel: 2, stride: 2 }),
};

/** timm's `Downsample2d`: half the size by a pool, and `NAME.expand` where the channels become others. */
export function downsample(layers: Layers, name: string, x: Value, options: DownsampleOptions): Value {
  const { channels, pool, bias = true, same = false, start } = options;
  return layers.scope(name, () => {
    const pooled = pools[pool](layers, x, same);
    return channels === dimOf(x, 1)
      ? pooled
      : conv(layers, 'expand', pooled, channels, { kernel: 1, bias, ...start });
  });
}

/** An image's norm with an activation, timm's `norm_act`. */
const normAct = (layers: Layers, name: string, x: Value, args: ConvArgs, act: ActivationName | undefined) => {
  const normed = imageNorm(layers, name, x, args.norm);
  return act ? layers.scope(name, () => layers.activation(normed, act)) : normed;
};

/** Two 3x3 convolutions, the first of which halves the image. */
export function stem(layers: Layers, images: Value, args: MaxxVitArgs): Value {
  const { conv: cfg, stem_width: widths, stem_bias: bias, scheme } = args;
  const convolve = (name: string, x: Value, channels: number, stride: number) =>
    conv(layers, name, x, channels, {
      kernel: 3,
      stride,
      padding: cfg.same ? 'same' : halfPadding(3, stride),
      bias,
      ...convStart(scheme, { kernel: 3, inputs: dimOf(x, 1), outputs: channels }),
    });
  return layers.scope('stem', () => {
    const first = normAct(layers, 'norm1', convolve('conv1', images, widths[0], 2), cfg, cfg.activation);
    return convolve('conv2', first, widths[1], 1);
  });
}

/** A block of convolutions, `[N, C, H, W] -> [N, channels, H / stride, W / stride]`. */
export type ConvBlock = (
  layers: Layers,
  x: Value,
  args: ConvArgs,
  channels: number,
  stride: number,
  scheme: WeightScheme,
) => Value;

/** An inverted bottleneck with a norm first, and a squeeze-and-excitation. */
const mbConv: ConvBlock = (layers, x, args, channels, stride, scheme) => {
  const { kernel, groupSize, same, activation, outputBias, strideMode } = args;
  const inputs = dimOf(x, 1);
  const inner = makeDivisible((args.expandOutput ? channels : inputs) * args.expandRatio);
  const pointwise = (name: string, input: Value, outputs: number, options: Partial<ConvOptions>) => {
    const start = convStart(scheme, { kernel: 1, inputs: dimOf(input, 1), outputs });
    return conv(layers, name, input, outputs, { kernel: 1, ...start, ...options });
  };
  const smaller = (name: string, outputs: number, input: Value, pool: PoolType, bias: boolean) => {
    const start = convStart(scheme, { kernel: 1, inputs, outputs });
    return downsample(layers, name, input, { channels: outputs, pool, bias, same, start });
  };
  const shortcut = stride === 1 ? x : smaller('shortcut', channels, x, args.poolType, outputBias);
  let y = normAct(layers, 'pre_norm', x, args, args.preNormAct ? activation : undefined);
  if (stride > 1 && strideMode === 'pool') y = smaller('down', inputs, y, args.downsamplePoolType, true);
  y = pointwise('conv1_1x1', y, inner, { bias: false, stride: strideMode === '1x1' ? stride : 1 });
  y = normAct(layers, 'norm1', y, args, activation);
  const step = strideMode === 'dw' ? stride : 1;
  const groups = groupSize === 0 ? 1 : inner / groupSize;
  y = conv(layers, 'conv2_kxk', y, inner, {
    kernel,
    stride: step,
    padding: same ? 'same' : halfPadding(kernel, step),
    groups,
    bias: false,
    ...convStart(scheme, { kernel, inputs: inner, outputs: inner, groups }),
  });
  const excite = (name: string, value: Value) =>
    squeezeExcite(layers, name, value, {
      reduced: Math.trunc(args.exciteRatio * (args.expandOutput ? channels : inner)),
      activation: args.exciteActivation,
      start: (from, to) => convStart(scheme, { kernel: 1, inputs: from, outputs: to }),
    });
  if (args.exciteEarly) y = excite('se_early', y);
  y = normAct(layers, 'norm2', y, args, activation);
  if (!args.exciteEarly) y = excite('se', y);
  y = pointwise('conv3_1x1', y, channels, { bias: outputBias });
  return layers.builder.op('Add', [y, shortcut], {}, 'residual');
};

/** ConvNeXt's block (arXiv 2201.03545), with a shortcut by a pool where it halves the image. */
const convNeXt: ConvBlock = (layers, x, args, channels, stride, scheme) => {
  const { outputBias: bias, strideMode, layerScale } = args;
  const inputs = dimOf(x, 1);
  const smaller = (name: string, outputs: number, pool: PoolType) =>
    downsample(layers, name, x, {
      channels: outputs,
      pool,
      start: convStart(scheme, { kernel: 1, inputs, outputs }),
    });
  const shortcut = stride === 1 ? x : smaller('shortcut', channels, 'avg2');
  const pooled = stride > 1 && strideMode === 'pool';
  const y = pooled ? smaller('down', inputs, args.downsamplePoolType) : x;
  const mixed = conv(layers, 'conv_dw', y, channels, {
    kernel: 7,
    stride: pooled ? 1 : stride,
    padding: 3,
    groups: inputs,
    bias,
    ...convStart(scheme, { kernel: 7, inputs, outputs: channels, groups: inputs }),
  });
  const fed = imageMlp(layers, imageNorm(layers, 'norm', mixed, args.norm), {
    hidden: Math.trunc(args.expandRatio * channels),
    activation: args.activation,
    bias,
    start: (from, to) => convStart(scheme, { kernel: 1, inputs: from, outputs: to }),
  });
  const scaled = layerScale ? imageScale(layers, 'ls', fed, layerScale) : fed;
  return layers.builder.op('Add', [scaled, shortcut], {}, 'residual');
};

export const convBlocks: Record<ConvArgs['kind'], ConvBlock> = { mbconv: mbConv, convnext: convNeXt };
