import { float } from '../../graph/attribute.ts';
import type { Value } from '../../graph/graph.ts';
import type { Initializer } from '../parameter-source.ts';
import { standardized } from './group-norm.ts';
import type { ActivationName } from './layer-spec.ts';
import { dimOf, type Layers } from './layers.ts';

type Pair = readonly [vertical: number, horizontal: number];

export interface ConvOptions {
  kernel: number | Pair;
  stride?: number | Pair;
  /** Pixels on each side; 'same': as TensorFlow pads, the odd pixel below and right. Default 0. */
  padding?: number | Pair | 'same';
  dilation?: number | Pair;
  groups?: number;
  bias?: boolean;
  weightInitializer?: Initializer;
  biasInitializer?: Initializer;
  /** Standardizes the weight of each output, with this epsilon ("Weight Standardization", arXiv 1903.10520). */
  standardizeWeight?: number;
}

const pair = (value: number | Pair): Pair => (typeof value === 'number' ? [value, value] : value);

/** timm's `get_padding`: what keeps an image's size at stride 1. */
export const halfPadding = (kernel: number, stride = 1, dilation = 1): number =>
  Math.floor((stride - 1 + dilation * (kernel - 1)) / 2);

/** Attributes of a sliding window over an image, those with a value other than the default. */
export function windowAttributes(
  x: Value,
  {
    kernel,
    stride = 1,
    padding = 0,
    dilation = 1,
  }: Pick<ConvOptions, 'kernel' | 'stride' | 'padding' | 'dilation'>,
): Record<string, number[]> {
  const [kernels, strides, dilations] = [pair(kernel), pair(stride), pair(dilation)];
  const pads =
    padding === 'same' ? samePads(x, kernels, strides, dilations) : [...pair(padding), ...pair(padding)];
  return {
    kernel_shape: [...kernels],
    strides: [...strides],
    ...(dilations.some((d) => d !== 1) ? { dilations: [...dilations] } : {}),
    ...(pads.some((p) => p !== 0) ? { pads } : {}),
  };
}

function samePads(x: Value, kernels: Pair, strides: Pair, dilations: Pair): number[] {
  const totals = [0, 1].map((i) => {
    const size = dimOf(x, i - 2);
    const reach = dilations[i]! * (kernels[i]! - 1) + 1;
    return Math.max((Math.ceil(size / strides[i]!) - 1) * strides[i]! + reach - size, 0);
  });
  const before = totals.map((total) => Math.floor(total / 2));
  return [...before, ...totals.map((total, i) => total - before[i]!)];
}

/** A start of many vision transformers: N(0, 2 / fan out), biases at 0. */
export function fanOutStart(
  kernel: number,
  channels: number,
  groups = 1,
): Pick<ConvOptions, 'weightInitializer' | 'biasInitializer'> {
  return {
    weightInitializer: { kind: 'normal', std: Math.sqrt(2 / ((kernel * kernel * channels) / groups)) },
    biasInitializer: { kind: 'constant', value: 0 },
  };
}

export interface ConvParameters {
  /** `[channels, C / groups, kh, kw]`. */
  weight: Value;
  bias: Value | undefined;
}

/** The parameters of a convolution of `inputs` channels, `weight` and `bias` in the present scope. */
export function convParameters(
  layers: Layers,
  inputs: number,
  channels: number,
  options: ConvOptions,
): ConvParameters {
  const { groups = 1, bias = true } = options;
  const kernels = pair(options.kernel);
  const shape = [channels, inputs / groups, ...kernels];
  /** PyTorch's own start for convolutions: U(-1, 1) / sqrt(fan in). */
  const start: Initializer = {
    kind: 'uniform',
    bound: ((inputs / groups) * kernels[0] * kernels[1]) ** -0.5,
  };
  return {
    weight: layers.parameter('weight', shape, options.weightInitializer ?? start),
    bias: bias ? layers.parameter('bias', [channels], options.biasInitializer ?? start) : undefined,
  };
}

/** `[N, C, H, W] -> [N, channels, H', W']` with parameters that other places may convolve with too. */
export function convolve(
  layers: Layers,
  x: Value,
  { weight, bias }: ConvParameters,
  options: ConvOptions,
): Value {
  const { groups = 1, standardizeWeight: epsilon } = options;
  const kernel = epsilon === undefined ? weight : standardized(layers, weight, [1, 2, 3], epsilon);
  const attributes = { ...windowAttributes(x, options), ...(groups === 1 ? {} : { group: groups }) };
  return layers.builder.op('Conv', bias ? [x, kernel, bias] : [x, kernel], attributes, 'conv');
}

/** `[N, C, H, W] -> [N, channels, H', W']`, weight `[channels, C / groups, kh, kw]`. */
export function conv(layers: Layers, name: string, x: Value, channels: number, options: ConvOptions): Value {
  return layers.scope(name, () =>
    convolve(layers, x, convParameters(layers, dimOf(x, 1), channels, options), options),
  );
}

export interface BatchNormOptions {
  epsilon?: number;
  weightInitializer?: Initializer;
}

/** BatchNorm of axis 1 by its running statistics, as in inference: `[N, C, ...]`. */
export function batchNorm(layers: Layers, name: string, x: Value, options: BatchNormOptions = {}): Value {
  const { epsilon = 1e-5, weightInitializer = { kind: 'constant', value: 1 } } = options;
  const shape = [dimOf(x, 1)];
  return layers.scope(name, () => {
    const operands = [
      x,
      layers.parameter('weight', shape, weightInitializer),
      layers.parameter('bias', shape, { kind: 'constant', value: 0 }),
      layers.buffer('running_mean', shape, { kind: 'constant', value: 0 }),
      layers.buffer('running_var', shape, { kind: 'constant', value: 1 }),
    ];
    layers.counter('num_batches_tracked');
    return layers.builder.op('BatchNormalization', operands, { epsilon: float(epsilon) }, 'norm');
  });
}

/**
 * timm's `ConvNormAct`: `NAME.conv` without a bias, `NAME.bn`, and an activation where one is named. Many
 * modules have these two under other `names`.
 */
export function convNormAct(
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  options: ConvOptions & {
    activation?: ActivationName | undefined;
    norm?: BatchNormOptions;
    names?: readonly [conv: string, norm: string];
  },
): Value {
  const { names = ['conv', 'bn'] } = options;
  return layers.scope(name, () => {
    const convolved = conv(layers, names[0], x, channels, { bias: false, ...options });
    const normed = batchNorm(layers, names[1], convolved, options.norm);
    return options.activation ? layers.activation(normed, options.activation) : normed;
  });
}
