import type { Value } from '../../../graph/graph.ts';
import { batchNorm, conv, convNormAct, halfPadding } from '../../layers/convolution.ts';
import type { ActivationName } from '../../layers/layer-spec.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { squeezeExcite } from '../../layers/squeeze-excite.ts';

/** timm's `make_divisible` without its limit on rounding down. */
const toMultiple = (x: number, divisor: number) =>
  Math.max(divisor, Math.floor((x + divisor / 2) / divisor) * divisor);

export interface MobileOneOptions {
  kernel: number;
  stride?: number;
  depthwise?: boolean;
  excite?: boolean;
  /** A 1x1 convolution beside larger ones. */
  scaleBranch?: boolean;
  /** Whether there is a convolution of the full size. */
  convolution?: boolean;
  activation?: ActivationName | undefined;
}

/**
 * The sum of what parallel branches make of an image, each with its BatchNorm: the image itself where the shape
 * stays, a 1x1 convolution and a larger one ("MobileOne", arXiv 2206.04040).
 */
export function mobileOne(
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  options: MobileOneOptions,
): Value {
  const { kernel, stride = 1, excite, scaleBranch = true, convolution = true, activation } = options;
  const groups = options.depthwise ? dimOf(x, 1) : 1;
  const branch = (place: string, size: number) =>
    convNormAct(layers, place, x, channels, {
      kernel: size,
      stride,
      groups,
      padding: halfPadding(size, stride),
    });
  return layers.scope(name, () => {
    const branches = [
      ...(scaleBranch && kernel > 1 ? [branch('conv_scale', 1)] : []),
      ...(channels === dimOf(x, 1) && stride === 1 ? [batchNorm(layers, 'identity', x)] : []),
      ...(convolution ? [branch('conv_kxk.0', kernel)] : []),
    ];
    const sum = branches.reduce((a, b) => layers.builder.op('Add', [a, b], {}, 'branches'));
    const weighed = excite
      ? squeezeExcite(layers, 'se', sum, { reduced: toMultiple(channels / 16, 1) })
      : sum;
    return activation ? layers.activation(weighed, activation) : weighed;
  });
}

export interface LargeKernelOptions {
  kernel: number;
  stride: number;
  excite: boolean;
  activation: ActivationName | undefined;
}

/** A large convolution and a 3x3 one side by side, in as many groups as there are channels (RepLKNet, arXiv 2203.06717). */
export function largeKernel(
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  { kernel, stride, excite, activation }: LargeKernelOptions,
): Value {
  const groups = dimOf(x, 1);
  const branch = (place: string, size: number) =>
    convNormAct(layers, place, x, channels, {
      kernel: size,
      stride,
      groups,
      padding: halfPadding(size, stride),
    });
  return layers.scope(name, () => {
    const branches = [branch('large_conv', kernel), branch('small_conv', 3)];
    const sum = layers.builder.op('Add', branches, {}, 'branches');
    const weighed = excite ? squeezeExcite(layers, 'se', sum, { reduced: toMultiple(channels / 4, 8) }) : sum;
    return activation ? layers.activation(weighed, activation) : weighed;
  });
}

/** A learned factor for each channel, `[C, 1, 1]` in the state dict. */
export function scaled(layers: Layers, name: string, x: Value, value: number): Value {
  return layers.scope(name, () => {
    const gamma = layers.parameter('gamma', [dimOf(x, 1), 1, 1], { kind: 'constant', value });
    return layers.builder.op('Mul', [x, gamma], {}, 'scaled');
  });
}

const pointwiseStart = {
  weightInitializer: { kind: 'normal', std: 0.02 },
  biasInitializer: { kind: 'constant', value: 0 },
} as const;

/** A 7x7 depthwise convolution, then an MLP of each pixel. */
export function convMlp(layers: Layers, x: Value, hidden: number, activation: ActivationName): Value {
  const width = dimOf(x, 1);
  return layers.scope('mlp', () => {
    const local = convNormAct(layers, 'conv', x, width, {
      kernel: 7,
      padding: 3,
      groups: width,
      weightInitializer: pointwiseStart.weightInitializer,
    });
    const units = conv(layers, 'fc1', local, hidden, { kernel: 1, ...pointwiseStart });
    return conv(layers, 'fc2', layers.activation(units, activation), width, { kernel: 1, ...pointwiseStart });
  });
}
