import type { Value } from '../../graph/graph.ts';
import { dimOf, type Layers } from './layers.ts';

/** (x - mean) / sqrt(variance + epsilon) over some axes. */
export function standardized(layers: Layers, x: Value, axes: readonly number[], epsilon: number): Value {
  const b = layers.builder;
  const mean = (value: Value, name: string) =>
    b.op('ReduceMean', [value, b.ints(axes)], { keepdims: 1 }, name);
  const centered = b.op('Sub', [x, mean(x, 'mean')], {}, 'centered');
  const variance = mean(b.op('Mul', [centered, centered], {}, 'square'), 'variance');
  const deviation = b.op('Sqrt', [b.op('Add', [variance, b.scalar(epsilon)], {}, 'add')], {}, 'deviation');
  return b.op('Div', [centered, deviation], {}, 'standardized');
}

/** Channels in groups that follow one another, each standardized over the image ("Group Normalization", arXiv 1803.08494). */
export function groupNorm(layers: Layers, name: string, x: Value, groups: number, epsilon = 1e-5): Value {
  const b = layers.builder;
  const [channels, height, width] = [dimOf(x, 1), dimOf(x, 2), dimOf(x, 3)];
  return layers.scope(name, () => {
    const weight = layers.parameter('weight', [channels], { kind: 'constant', value: 1 });
    const bias = layers.parameter('bias', [channels], { kind: 'constant', value: 0 });
    const boxed = b.op('Reshape', [x, b.ints([0, groups, -1])], {}, 'groups');
    const normed = standardized(layers, boxed, [2], epsilon);
    const image = b.op('Reshape', [normed, b.ints([0, -1, height, width])], {}, 'image');
    const perChannel = (value: Value) => b.op('Unsqueeze', [value, b.ints([1, 2])], {}, 'per_channel');
    const scaled = b.op('Mul', [image, perChannel(weight)], {}, 'scaled');
    return b.op('Add', [scaled, perChannel(bias)], {}, 'norm');
  });
}

/** Channels and positions of an image standardized together, then each channel scaled and moved: timm's `GroupNorm1`. */
export function wholeNorm(layers: Layers, name: string, x: Value): Value {
  const b = layers.builder;
  return layers.scope(name, () => {
    const shape = [dimOf(x, 1)];
    const weight = layers.parameter('weight', shape, { kind: 'constant', value: 1 });
    const bias = layers.parameter('bias', shape, { kind: 'constant', value: 0 });
    const perChannel = (value: Value) => b.op('Unsqueeze', [value, b.ints([1, 2])], {}, 'per_channel');
    const normed = standardized(layers, x, [1, 2, 3], 1e-5);
    const scaled = b.op('Mul', [normed, perChannel(weight)], {}, 'scaled');
    return b.op('Add', [scaled, perChannel(bias)], {}, 'norm');
  });
}
