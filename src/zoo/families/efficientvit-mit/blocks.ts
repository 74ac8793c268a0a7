import type { Value } from '../../../graph/graph.ts';
import { type ConvOptions, conv, convNormAct, halfPadding } from '../../layers/convolution.ts';
import type { ActivationName } from '../../layers/layer-spec.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import type { EfficientVitArgs } from './arguments.ts';

/** A convolution that keeps the size at stride 1. `normed` says whether a BatchNorm follows, or a bias is in it. */
function unit(
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  args: EfficientVitArgs,
  {
    normed = true,
    activation,
    ...options
  }: ConvOptions & { kernel: number; stride?: number; normed?: boolean; activation?: ActivationName },
): Value {
  const padding = halfPadding(options.kernel, options.stride);
  if (normed) {
    const norm = { epsilon: args.norm_eps.batch };
    return convNormAct(layers, name, x, channels, {
      ...options,
      padding,
      activation,
      names: ['conv', 'norm'],
      norm,
    });
  }
  return layers.scope(name, () => {
    const convolved = conv(layers, 'conv', x, channels, { ...options, padding });
    return activation ? layers.activation(convolved, activation) : convolved;
  });
}

/** A convolution with its BatchNorm and activation, of the stem and the head. */
export const convolutionUnit = (
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  args: EfficientVitArgs,
  options: { kernel: number; stride?: number },
): Value => unit(layers, name, x, channels, args, { ...options, activation: args.activation });

export interface LocalOptions {
  channels: number;
  stride: number;
  /** Inner channels for each outer one. */
  ratio: number;
  /** Whether the inner channels have a convolution of their own, and not only the 3x3 one. */
  widened: boolean;
  /** Whether only the last convolution has a BatchNorm. */
  fewerNorms: boolean;
  /** Whether the 3x3 convolution is over all channels, and does the widening. */
  fused: boolean;
}

/** Convolutions between neighbouring pixels, in the scope of a block's `main`. */
export function localBlock(layers: Layers, x: Value, args: EfficientVitArgs, options: LocalOptions): Value {
  const { channels, stride, ratio, widened, fewerNorms, fused } = options;
  const width = dimOf(x, 1);
  const active = { normed: !fewerNorms, activation: args.activation };
  const inner = Math.round(width * ratio);
  if (fused) {
    const [spatial, last] = widened ? ['spatial_conv', 'point_conv'] : ['conv1', 'conv2'];
    const wide = unit(layers, spatial!, x, inner, args, { kernel: 3, stride, ...active });
    return unit(layers, last!, wide, channels, args, { kernel: widened ? 1 : 3 });
  }
  const wide = widened ? unit(layers, 'inverted_conv', x, inner, args, { kernel: 1, ...active }) : x;
  const depthwise = { kernel: 3, stride, groups: dimOf(wide, 1), ...active };
  const mixed = unit(layers, 'depth_conv', wide, dimOf(wide, 1), args, depthwise);
  return unit(layers, 'point_conv', mixed, channels, args, { kernel: 1 });
}

/** Where queries, keys and values are seen from: each pixel by itself, and with its neighbours. */
const neighbourhood = 5;

/**
 * Attention without a softmax, relu(q) (relu(k)^T v) over the sum of its weights, which costs in proportion to the
 * pixels; half of the heads see the pixels' neighbourhoods. `[N, C, H, W] -> [N, C, H, W]`.
 */
export function linearAttention(layers: Layers, x: Value, args: EfficientVitArgs): Value {
  const b = layers.builder;
  const [width, height, columns] = [dimOf(x, 1), dimOf(x, 2), dimOf(x, 3)];
  const { head_dim: headDim } = args;
  const heads = Math.floor(width / headDim);
  const packed = 3 * heads * headDim;
  const own = unit(layers, 'qkv', x, packed, args, { kernel: 1, normed: false, bias: false });
  const around = layers.scope('aggreg.0', () => {
    const padding = Math.floor(neighbourhood / 2);
    const options = { kernel: neighbourhood, padding, groups: packed, bias: false };
    const gathered = conv(layers, '0', own, packed, options);
    return conv(layers, '1', gathered, packed, { kernel: 1, groups: 3 * heads, bias: false });
  });
  const both = b.op('Concat', [own, around], { axis: 1 }, 'scales');
  const boxed = b.op('Reshape', [both, b.ints([0, 2 * heads, -1, height * columns])], {}, 'heads');
  const parts = b.node('Split', [boxed], { axis: 2, num_outputs: 3 }, 3, 'part');
  const positive = (name: string, part: number) =>
    layers.scope(name, () => layers.activation(parts.output(part), 'relu'));
  /** Channels before pixels, `[N, heads, D, T]`: transposed, (k v^T)^T q is the same with one transpose less. */
  const [q, k, v] = [positive('q', 0), positive('k', 1), parts.output(2)];
  const keys = b.op('Transpose', [k], { perm: [0, 1, 3, 2] }, 'k_t');
  const context = b.op('MatMul', [b.op('MatMul', [v, keys], {}, 'values_by_keys'), q], {}, 'context');
  const total = b.op('ReduceSum', [keys, b.ints([2])], { keepdims: 1 }, 'key_sum');
  const weights = b.op('Add', [b.op('MatMul', [total, q], {}, 'weights'), b.scalar(1e-5)], {}, 'weights_eps');
  const weighed = b.op('Div', [context, weights], {}, 'weighed');
  const joined = b.op('Reshape', [weighed, b.ints([0, -1, height, columns])], {}, 'joined');
  return unit(layers, 'proj', joined, width, args, { kernel: 1 });
}
