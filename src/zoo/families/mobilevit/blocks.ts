import type { Value } from '../../../graph/graph.ts';
import {
  type BatchNormOptions,
  type ConvOptions,
  conv,
  convNormAct,
  fanOutStart,
  halfPadding,
} from '../../layers/convolution.ts';
import { wholeNorm } from '../../layers/group-norm.ts';
import type { ActivationName, NormSpec } from '../../layers/layer-spec.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { resample } from '../../layers/resample.ts';
import { vitBlock } from '../../layers/vit-block.ts';

/** A convolution that keeps the size at stride 1, its BatchNorm, and an activation where one is named. */
export function convUnit(
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  options: ConvOptions & { kernel: number; stride?: number; norm?: BatchNormOptions },
  activation?: ActivationName,
): Value {
  const { kernel, stride = 1, groups = 1 } = options;
  const start = fanOutStart(kernel, channels, groups);
  return convNormAct(layers, name, x, channels, {
    padding: halfPadding(kernel, stride),
    ...start,
    ...options,
    activation,
  });
}

export interface BottleneckOptions {
  channels: number;
  inner: number;
  stride: number;
  activation: ActivationName;
}

/** An inverted bottleneck, with a residual where the shape stays. */
export function bottleneck(
  layers: Layers,
  x: Value,
  { channels, inner, stride, activation }: BottleneckOptions,
): Value {
  const stays = channels === dimOf(x, 1) && stride === 1;
  const wide = convUnit(layers, 'conv1_1x1', x, inner, { kernel: 1 }, activation);
  const depthwise = { kernel: 3, stride, groups: inner };
  const mixed = convUnit(layers, 'conv2_kxk', wide, inner, depthwise, activation);
  const weightInitializer = { kind: 'constant', value: stays ? 0 : 1 } as const;
  const narrow = convUnit(layers, 'conv3_1x1', mixed, channels, { kernel: 1, norm: { weightInitializer } });
  return stays ? layers.builder.op('Add', [narrow, x], {}, 'residual') : narrow;
}

export interface TransformerOptions {
  channels: number;
  /** Width of the transformer. */
  inner: number;
  depth: number;
  /** Height and width of a patch. */
  patch: number;
  activation: ActivationName;
}

const torchNorm: NormSpec = { kind: 'layer', epsilon: 1e-5 };

const wholePatches = (x: Value, patch: number) =>
  [dimOf(x, 2), dimOf(x, 3)].map((length) => Math.ceil(length / patch) * patch) as [number, number];

/** `[N, C, H, W] -> [N, C, rows, patch, columns, patch]`. */
function cut(layers: Layers, x: Value, patch: number): Value {
  const shape = [0, 0, dimOf(x, 2) / patch, patch, dimOf(x, 3) / patch, patch];
  return layers.builder.op('Reshape', [x, layers.builder.ints(shape)], {}, 'patches_cut');
}

/**
 * MobileViT's block: what convolutions see nearby, attention between the pixels in the same place of all patches, and
 * both joined.
 */
export function transformerBlock(layers: Layers, x: Value, options: TransformerOptions): Value {
  const { channels, inner, depth, patch, activation } = options;
  const b = layers.builder;
  const size = [dimOf(x, 2), dimOf(x, 3)] as const;
  const whole = wholePatches(x, patch);
  const near = convUnit(layers, 'conv_kxk', x, dimOf(x, 1), { kernel: 3 }, activation);
  const narrow = conv(layers, 'conv_1x1', near, inner, { kernel: 1, bias: false, ...fanOutStart(1, inner) });
  const resized = resample(layers, narrow, whole, 'bilinear');
  const [rows, columns] = [whole[0] / patch, whole[1] / patch];
  const placesFirst = b.op(
    'Transpose',
    [cut(layers, resized, patch)],
    { perm: [0, 3, 5, 2, 4, 1] },
    'places_first',
  );
  let tokens = b.op('Reshape', [placesFirst, b.ints([-1, rows * columns, inner])], {}, 'places');
  for (let i = 0; i < depth; i++) {
    tokens = layers.scope(`transformer.${i}`, () =>
      vitBlock(layers, tokens, { heads: 4, mlpRatio: 2, norm: torchNorm, activation }),
    );
  }
  const normed = layers.norm('norm', tokens, torchNorm);
  const boxed = b.op('Reshape', [normed, b.ints([-1, patch, patch, rows, columns, inner])], {}, 'places_cut');
  const channelsFirst = b.op('Transpose', [boxed], { perm: [0, 5, 3, 1, 4, 2] }, 'channels_first');
  const image = b.op('Reshape', [channelsFirst, b.ints([0, 0, ...whole])], {}, 'image');
  const seen = convUnit(
    layers,
    'conv_proj',
    resample(layers, image, size, 'bilinear'),
    channels,
    { kernel: 1 },
    activation,
  );
  const both = b.op('Concat', [x, seen], { axis: 1 }, 'near_and_far');
  return convUnit(layers, 'conv_fusion', both, channels, { kernel: 3 }, activation);
}

/** MobileViT V2's block: as MobileViT's, with an attention that costs in proportion to the patches, and no residual. */
export function linearTransformerBlock(layers: Layers, image: Value, options: TransformerOptions): Value {
  const { channels, inner, depth, patch, activation } = options;
  const b = layers.builder;
  const resized = resample(layers, image, wholePatches(image, patch), 'bilinearCorners');
  const width = dimOf(resized, 1);
  const near = convUnit(layers, 'conv_kxk', resized, width, { kernel: 3, groups: width }, activation);
  const narrow = conv(layers, 'conv_1x1', near, inner, { kernel: 1, bias: false, ...fanOutStart(1, inner) });
  const [rows, columns] = [dimOf(narrow, 2) / patch, dimOf(narrow, 3) / patch];
  const placesFirst = b.op(
    'Transpose',
    [cut(layers, narrow, patch)],
    { perm: [0, 1, 3, 5, 2, 4] },
    'places_first',
  );
  let x = b.op('Reshape', [placesFirst, b.ints([0, 0, patch * patch, rows * columns])], {}, 'places');
  for (let i = 0; i < depth; i++) {
    x = layers.scope(`transformer.${i}`, () => linearBlock(layers, x, activation));
  }
  const normed = wholeNorm(layers, 'norm', x);
  const boxed = b.op('Reshape', [normed, b.ints([0, 0, patch, patch, rows, columns])], {}, 'places_cut');
  const ordered = b.op('Transpose', [boxed], { perm: [0, 1, 4, 2, 5, 3] }, 'rows_first');
  const folded = b.op('Reshape', [ordered, b.ints([0, 0, rows * patch, columns * patch])], {}, 'image');
  return convUnit(layers, 'conv_proj', folded, channels, { kernel: 1 });
}

/** `[N, C, places, patches] ->` the same shape. */
function linearBlock(layers: Layers, x: Value, activation: ActivationName): Value {
  const b = layers.builder;
  const width = dimOf(x, 1);
  const pointwise = (name: string, input: Value, channels: number) =>
    conv(layers, name, input, channels, { kernel: 1, ...fanOutStart(1, channels) });
  const normed = wholeNorm(layers, 'norm1', x);
  const attended = layers.scope('attn', () => {
    const packed = pointwise('qkv_proj', normed, 1 + 2 * width);
    const parts = b.node('Split', [packed, b.ints([1, width, width])], { axis: 1 }, 3, 'part');
    const weights = b.op('Softmax', [parts.output(0)], { axis: -1 }, 'softmax');
    const weighed = b.op('Mul', [parts.output(1), weights], {}, 'keys_weighed');
    const context = b.op('ReduceSum', [weighed, b.ints([3])], { keepdims: 1 }, 'context');
    const values = layers.activation(parts.output(2), 'relu');
    return pointwise('out_proj', b.op('Mul', [values, context], {}, 'values_weighed'), width);
  });
  const middle = b.op('Add', [x, attended], {}, 'residual1');
  const normedAgain = wholeNorm(layers, 'norm2', middle);
  const fed = layers.scope('mlp', () =>
    pointwise('fc2', layers.activation(pointwise('fc1', normedAgain, 2 * width), activation), width),
  );
  return b.op('Add', [middle, fed], {}, 'residual2');
}
