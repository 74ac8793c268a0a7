import type { Value } from '../../../graph/graph.ts';
import { type ConvOptions, conv } from '../../layers/convolution.ts';
import { distanceBias } from '../../layers/distance-bias.ts';
import { joinImageHeads, splitImageHeads } from '../../layers/image-heads.ts';
import type { ActivationName } from '../../layers/layer-spec.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { resample } from '../../layers/resample.ts';

export type ConvNorm = (
  name: string,
  x: Value,
  channels: number,
  options: ConvOptions,
  activation?: ActivationName,
) => Value;

type Size = readonly [height: number, width: number];

const heads = 8;
/** Channels of values for each of keys. */
const ratio = 4;

const sizeOf = (x: Value): Size => [dimOf(x, 2), dimOf(x, 3)];

/** softmax of the scores, with what is done to them before and after, times the values. */
function attend(
  layers: Layers,
  [q, k, v]: readonly [Value, Value, Value],
  bias: Value,
  keyWidth: number,
  mix: (name: string, scores: Value) => Value = (_, scores) => scores,
): Value {
  const b = layers.builder;
  const scaled = b.op('Mul', [q, b.scalar(keyWidth ** -0.5)], {}, 'q_scaled');
  const keys = b.op('Transpose', [k], { perm: [0, 1, 3, 2] }, 'k_t');
  const scores = b.op('Add', [b.op('MatMul', [scaled, keys], {}, 'scores'), bias], {}, 'scores_biased');
  const weights = b.op('Softmax', [mix('talking_head1', scores)], { axis: -1 }, 'softmax');
  return b.op('MatMul', [mix('talking_head2', weights), v], {}, 'context');
}

/**
 * Attention between the pixels of an image, with scores mixed between heads and a convolution of the values beside
 * it; with a stride at a smaller size. `[N, C, H, W] -> [N, C, H, W]`.
 */
export function talkingAttention(
  layers: Layers,
  convNorm: ConvNorm,
  image: Value,
  stride: number,
  activation: ActivationName,
): Value {
  const b = layers.builder;
  const [width, keyWidth] = [dimOf(image, 1), 32];
  const values = ratio * keyWidth * heads;
  const x = stride > 1 ? convNorm('stride_conv', image, width, { kernel: 3, stride, groups: width }) : image;
  const size = sizeOf(x);
  const q = convNorm('q', x, keyWidth * heads, { kernel: 1 });
  const k = convNorm('k', x, keyWidth * heads, { kernel: 1 });
  const v = convNorm('v', x, values, { kernel: 1 });
  const local = convNorm('v_local', v, values, { kernel: 3, groups: values });
  const split = [q, k, v].map((part) => splitImageHeads(layers, part, heads)) as [Value, Value, Value];
  const mix = (name: string, scores: Value) => conv(layers, name, scores, heads, { kernel: 1 });
  const context = attend(layers, split, distanceBias(layers, heads, size), keyWidth, mix);
  const sum = b.op('Add', [joinImageHeads(layers, context, size), local], {}, 'with_local');
  const whole = resample(layers, sum, sizeOf(image), 'bilinear');
  return convNorm('proj', layers.activation(whole, activation), width, { kernel: 1 });
}

/** The same from every other pixel to all, without talking heads: `[N, C, H, W] -> [N, width, H / 2, W / 2]`. */
export function downsamplingAttention(
  layers: Layers,
  convNorm: ConvNorm,
  x: Value,
  width: number,
  activation: ActivationName,
): Value {
  const b = layers.builder;
  const [channels, keyWidth] = [dimOf(x, 1), 16];
  const values = ratio * keyWidth * heads;
  const q = layers.scope('q', () => {
    const local = conv(layers, 'local', x, channels, { kernel: 3, stride: 2, padding: 1, groups: channels });
    const end = Number.MAX_SAFE_INTEGER;
    const every = [x, b.ints([0, 0]), b.ints([end, end]), b.ints([2, 3]), b.ints([2, 2])];
    const sum = b.op('Add', [local, b.op('Slice', every, {}, 'subsampled')], {}, 'with_pixels');
    return convNorm('proj', sum, keyWidth * heads, { kernel: 1 });
  });
  const k = convNorm('k', x, keyWidth * heads, { kernel: 1 });
  const v = convNorm('v', x, values, { kernel: 1 });
  const local = convNorm('v_local', v, values, { kernel: 3, stride: 2, groups: values });
  const split = [q, k, v].map((part) => splitImageHeads(layers, part, heads)) as [Value, Value, Value];
  const context = attend(layers, split, distanceBias(layers, heads, sizeOf(x), 2), keyWidth);
  const sum = b.op('Add', [joinImageHeads(layers, context, sizeOf(q)), local], {}, 'with_local');
  return convNorm('proj', layers.activation(sum, activation), width, { kernel: 1 });
}
