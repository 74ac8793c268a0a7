import type { Value } from '../../../graph/graph.ts';
import {
  batchNorm,
  type ConvOptions,
  conv,
  convNormAct,
  fanOutStart,
  halfPadding,
} from '../../layers/convolution.ts';
import { groupNorm } from '../../layers/group-norm.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { averagePool, maxPool } from '../../layers/pool.ts';

/** The convolutional network before a hybrid's patches: timm's class, and how many blocks its stages have. */
export interface Backbone {
  made: 'ResNetV2' | 'Sequential' | 'FeatureListNet' | 'ConvStem';
  layers: readonly number[];
}

type Network = (layers: Layers, x: Value, depths: readonly number[]) => Value;

const stageWidths = [256, 512, 1024, 2048];

const add = (layers: Layers, a: Value, b: Value) => layers.builder.op('Add', [a, b], {}, 'residual');

/** What ResNetV2's convolutions have in common: weights standardized, padded as TensorFlow does. */
const standard = { bias: false, padding: 'same', standardizeWeight: 1e-8 } as const;

function stdConv(layers: Layers, name: string, x: Value, channels: number, kernel: number, stride = 1) {
  return conv(layers, name, x, channels, { ...standard, ...fanOutStart(kernel, channels), kernel, stride });
}

const groups = 32;

/** timm's `GroupNormAct`. */
const normAct = (layers: Layers, name: string, x: Value): Value =>
  layers.activation(groupNorm(layers, name, x, groups), 'relu');

function stem(layers: Layers, x: Value, options: Partial<ConvOptions> = {}): Value {
  const convolved = conv(layers, 'conv', x, 64, { ...standard, kernel: 7, stride: 2, ...options });
  return maxPool(layers, normAct(layers, 'norm', convolved), { kernel: 3, stride: 2, padding: 'same' });
}

/** timm's `Bottleneck` of resnetv2.py, that of ViT: a v1 block with group norms. */
function bottleneckV2(layers: Layers, x: Value, width: number, stride: number, first: boolean): Value {
  const shortcut = first
    ? layers.scope('downsample', () =>
        groupNorm(layers, 'norm', stdConv(layers, 'conv', x, width, 1, stride), groups),
      )
    : x;
  let y = normAct(layers, 'norm1', stdConv(layers, 'conv1', x, width / 4, 1));
  y = normAct(layers, 'norm2', stdConv(layers, 'conv2', y, width / 4, 3, stride));
  y = groupNorm(layers, 'norm3', stdConv(layers, 'conv3', y, width, 1), groups);
  return layers.activation(add(layers, y, shortcut), 'relu');
}

/** "Big Transfer" without its pre-activations, as the original hybrid ViTs have it (arXiv 2010.11929). */
const resNetV2: Network = (layers, x, depths) => {
  let y = layers.scope('stem', () => stem(layers, x, fanOutStart(7, 64)));
  depths.forEach((depth, stage) => {
    for (let i = 0; i < depth; i++) {
      const stride = stage > 0 && i === 0 ? 2 : 1;
      y = layers.scope(`stages.${stage}.blocks.${i}`, () =>
        bottleneckV2(layers, y, stageWidths[stage]!, stride, i === 0),
      );
    }
  });
  return y;
};

function plainConv(layers: Layers, name: string, x: Value, channels: number, kernel: number, stride = 1) {
  return conv(layers, name, x, channels, {
    kernel,
    stride,
    padding: halfPadding(kernel),
    bias: false,
    ...fanOutStart(kernel, channels),
  });
}

/** timm's ResNet-D bottleneck ("Bag of Tricks", arXiv 1812.01187): strides by an average pool in the shortcut. */
function bottleneckD(layers: Layers, x: Value, width: number, stride: number): Value {
  const relu = (value: Value, name: string) => layers.scope(name, () => layers.activation(value, 'relu'));
  const projected = stride !== 1 || dimOf(x, 1) !== width;
  const shortcut = projected
    ? layers.scope('downsample', () => {
        const pool = { kernel: 2, stride, ceil: true, countPadding: false };
        const pooled = stride === 1 ? x : averagePool(layers, x, pool);
        return batchNorm(layers, '2', plainConv(layers, '1', pooled, width, 1));
      })
    : x;
  let y = relu(batchNorm(layers, 'bn1', plainConv(layers, 'conv1', x, width / 4, 1)), 'act1');
  y = relu(batchNorm(layers, 'bn2', plainConv(layers, 'conv2', y, width / 4, 3, stride)), 'act2');
  const weightInitializer = { kind: 'constant', value: 0 } as const;
  y = batchNorm(layers, 'bn3', plainConv(layers, 'conv3', y, width, 1), { weightInitializer });
  return relu(add(layers, y, shortcut), 'act3');
}

/** timm's ResNet-D as far as its last stage asked for. */
const resNetD: Network = (layers, x, depths) => {
  let y = layers.scope('conv1', () => {
    const first = plainConv(layers, '0', x, 32, 3, 2);
    const second = plainConv(layers, '3', layers.activation(batchNorm(layers, '1', first), 'relu'), 32, 3);
    return plainConv(layers, '6', layers.activation(batchNorm(layers, '4', second), 'relu'), 64, 3);
  });
  y = layers.activation(batchNorm(layers, 'bn1', y), 'relu');
  y = maxPool(layers, y, { kernel: 3, stride: 2, padding: 1 });
  depths.forEach((depth, stage) => {
    for (let i = 0; i < depth; i++) {
      const stride = stage > 0 && i === 0 ? 2 : 1;
      y = layers.scope(`layer${stage + 1}.${i}`, () => bottleneckD(layers, y, stageWidths[stage]!, stride));
    }
  });
  return y;
};

/** MobileCLIP's stem (arXiv 2311.17049): three convolutions without overlap. */
const convStem: Network = (layers, x) => {
  const step = { kernel: 2, stride: 2 };
  let y = convNormAct(layers, '0', x, 192, { kernel: 4, stride: 4, activation: 'gelu' });
  y = convNormAct(layers, '1', y, 192, { ...step, activation: 'gelu' });
  return layers.scope('2', () => conv(layers, 'conv', y, 768, step));
};

/** The networks by timm's classes, in the scope that they are called in: `[N, C, H, W] -> [N, C', H', W']`. */
export const backbones: Record<Backbone['made'], Network> = {
  ResNetV2: resNetV2,
  Sequential: (layers, x) => stem(layers, x),
  FeatureListNet: resNetD,
  ConvStem: convStem,
};
