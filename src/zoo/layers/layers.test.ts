import { describe, expect, it } from 'vitest';
import { checkGraph } from '../../graph/check.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Value } from '../../graph/types.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { runOnce } from '../../runtime/session.ts';
import { randomParameters } from '../parameter-source.ts';
import { stateDict } from '../state.ts';
import { attention } from './attention.ts';
import { batchNorm, conv, convNormAct } from './convolution.ts';
import { classifierHead } from './head.ts';
import { Layers } from './layers.ts';
import {
  gridPartition,
  gridReverse,
  imageToTokens,
  roll,
  tokensToImage,
  windowPartition,
  windowReverse,
} from './layout.ts';
import { averagePool, maxPool } from './pool.ts';
import { relativePositionBias, relativePositionGrid, relativePositionIndex } from './relative-position.ts';
import { squeezeExcite } from './squeeze-excite.ts';

/** Random where a builder would start at 0 or 1, so that nothing hides; variances are above 0. */
const varied = randomParameters(5);
const source: typeof varied = (name, shape, initializer, options) => {
  if (options?.dtype === 'int64') return varied(name, shape, initializer, options);
  if (name.endsWith('running_var')) return varied(name, shape, { kind: 'constant', value: 0.7 });
  return varied(name, shape, { kind: 'uniform', bound: 0.9 });
};

const wave = (shape: readonly number[]) =>
  Tensor.float32(
    shape,
    Float32Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, i) => Math.sin(i * 0.7)),
  );

/** What layers make of images of ones and more, and their parameters. */
async function run(
  channels: number,
  size: readonly [number, number],
  body: (layers: Layers, x: Value) => Value,
) {
  const layers = new Layers('test', source);
  const graph = layers.finish(body(layers, layers.images(channels, size)));
  expect(checkGraph(graph)).toEqual([]);
  const x = wave([2, channels, ...size]);
  const { logits } = await runOnce(onnxruntime, graph, { pixel_values: x });
  return { x: x.floats, y: logits!.floats, shape: logits!.shape, state: stateDict(graph) };
}

describe('convolutions', () => {
  it('pad as PyTorch or as TensorFlow does, in groups', async () => {
    const options = { kernel: 3, stride: 2, groups: 2 };
    const { shape, state } = await run(4, [5, 6], (layers, x) =>
      conv(layers, 'stem', x, 6, { ...options, padding: 1 }),
    );
    expect(shape).toEqual([2, 6, 3, 3]);
    expect([...state].map(([name, { shape }]) => [name, shape])).toEqual([
      ['stem.weight', [6, 2, 3, 3]],
      ['stem.bias', [6]],
    ]);
    const same = await run(1, [5, 6], (layers, x) =>
      conv(layers, 'c', x, 1, { kernel: [1, 3], stride: 2, padding: 'same', bias: false }),
    );
    expect(same.shape).toEqual([2, 1, 3, 3]);
    const w = same.state.get('c.weight')!.floats;
    expect(same.y[0]).toBeCloseTo(w[0]! * same.x[0]! + w[1]! * same.x[1]! + w[2]! * same.x[2]!, 5);
    expect(same.y[2]).toBeCloseTo(w[0]! * same.x[4]! + w[1]! * same.x[5]!, 5);
  });

  it('are followed by a BatchNorm of running statistics', async () => {
    const { x, y, state } = await run(2, [2, 2], (layers, image) => batchNorm(layers, 'bn', image));
    const at = (name: string, channel: number) => state.get(`bn.${name}`)!.floats[channel]!;
    const expected = x.map((value, i) => {
      const channel = Math.floor(i / 4) % 2;
      const normed = (value - at('running_mean', channel)) / Math.sqrt(at('running_var', channel) + 1e-5);
      return normed * at('weight', channel) + at('bias', channel);
    });
    expected.forEach((value, i) => {
      expect(y[i]).toBeCloseTo(value, 4);
    });
    expect(state.get('bn.num_batches_tracked')).toMatchObject({ dtype: 'int64', shape: [] });
  });

  it("have the names of timm's ConvNormAct", async () => {
    const { state } = await run(3, [4, 4], (layers, x) =>
      convNormAct(layers, 'stem', x, 2, { kernel: 3, padding: 1, activation: 'silu' }),
    );
    expect([...state.keys()]).toEqual([
      'stem.conv.weight',
      'stem.bn.weight',
      'stem.bn.bias',
      'stem.bn.running_mean',
      'stem.bn.running_var',
      'stem.bn.num_batches_tracked',
    ]);
  });

  it('are gated by what the whole image says', async () => {
    const { x, y, state } = await run(2, [2, 2], (layers, image) =>
      squeezeExcite(layers, 'se', image, { reduced: 1 }),
    );
    const [reduce, expand] = ['fc1', 'fc2'].map((name) => ({
      w: state.get(`se.${name}.weight`)!.floats,
      b: state.get(`se.${name}.bias`)!.floats,
    }));
    const mean = [0, 4].map((start) => x.subarray(start, start + 4).reduce((sum, v) => sum + v, 0) / 4);
    const hidden = Math.max(reduce!.w[0]! * mean[0]! + reduce!.w[1]! * mean[1]! + reduce!.b[0]!, 0);
    const gate = [0, 1].map((c) => 1 / (1 + Math.exp(-(expand!.w[c]! * hidden + expand!.b[c]!))));
    for (let i = 0; i < 8; i++) expect(y[i]).toBeCloseTo(x[i]! * gate[Math.floor(i / 4)]!, 5);
  });
});

describe('pools and heads', () => {
  it('count the padding of a mean, or not', async () => {
    const window = { kernel: 2, stride: 2, padding: 1 };
    const counted = await run(1, [2, 2], (layers, x) => averagePool(layers, x, window));
    const alone = await run(1, [2, 2], (layers, x) =>
      averagePool(layers, x, { ...window, countPadding: false }),
    );
    const highest = await run(1, [2, 2], (layers, x) => maxPool(layers, x, { kernel: 2 }));
    expect(counted.y[3]).toBeCloseTo(counted.x[3]! / 4, 5);
    expect(alone.y[3]).toBeCloseTo(alone.x[3]!, 5);
    expect(highest.y[0]).toBeCloseTo(Math.max(...highest.x.subarray(0, 4)), 5);
  });

  it('pool, norm and classify', async () => {
    const head = { pool: 'avg', axes: [2, 3], norm: { kind: 'layer', epsilon: 1e-6 } } as const;
    const whole = await run(3, [2, 2], (layers, x) =>
      classifierHead(layers, 'head', x, { ...head, classes: 5 }),
    );
    expect(whole.shape).toEqual([2, 5]);
    expect([...whole.state.keys()]).toEqual([
      'head.norm.weight',
      'head.norm.bias',
      'head.fc.weight',
      'head.fc.bias',
    ]);
    const bare = await run(3, [2, 2], (layers, x) =>
      classifierHead(layers, 'head', x, { ...head, classes: 0 }),
    );
    expect(bare.shape).toEqual([2, 3]);
  });

  it('norm the channels of an image', async () => {
    const { y, shape } = await run(4, [2, 2], (layers, x) =>
      layers.channelNorm('norm', x, { kind: 'rms', epsilon: 0 }),
    );
    const { x, state } = await run(4, [2, 2], (layers, x) =>
      layers.channelNorm('norm', x, { kind: 'rms', epsilon: 0 }),
    );
    expect(shape).toEqual([2, 4, 2, 2]);
    const root = Math.sqrt([0, 4, 8, 12].reduce((sum, i) => sum + x[i]! ** 2, 0) / 4);
    expect(y[4]).toBeCloseTo((x[4]! / root) * state.get('norm.weight')!.floats[1]!, 5);
  });
});

describe('layouts', () => {
  it('give images and windows back as they were', async () => {
    const tokens = await run(3, [2, 4], (layers, x) =>
      tokensToImage(layers, imageToTokens(layers, x), [2, 4]),
    );
    expect(tokens.y).toEqual(tokens.x);
    const windows = await run(4, [6, 3], (layers, x) =>
      windowReverse(layers, windowPartition(layers, x, [2, 3]), [2, 3], [4, 6]),
    );
    expect(windows.y).toEqual(windows.x);
    const grids = await run(4, [6, 3], (layers, x) =>
      gridReverse(layers, gridPartition(layers, x, [2, 3]), [2, 3], [4, 6]),
    );
    expect(grids.y).toEqual(grids.x);
  });

  it('cut windows in reading order', async () => {
    const { x, y, shape } = await run(2, [4, 1], (layers, image) => windowPartition(layers, image, [1, 2]));
    expect(shape).toEqual([8, 2, 1]);
    expect([...y.subarray(0, 4)]).toEqual([...x.subarray(0, 4)]);
  });

  it('cut grids of places half an image apart', async () => {
    const { x, y, shape } = await run(4, [1, 1], (layers, image) => gridPartition(layers, image, [2, 1]));
    expect(shape).toEqual([4, 2, 1]);
    expect([...y.subarray(0, 4)]).toEqual([0, 2, 1, 3].map((place) => x[place]));
  });

  it('roll as torch does', async () => {
    const { x, y } = await run(3, [2, 1], (layers, image) => roll(layers, image, [-1, 1]));
    const rows = [0, 1, 2].map((row) => [...x.subarray(2 * row, 2 * row + 2)]);
    const rolled = [rows[1]!, rows[2]!, rows[0]!].map(([a, b]) => [b, a]);
    expect([...y.subarray(0, 6)]).toEqual(rolled.flat());
  });
});

describe('relative positions', () => {
  it('number the offsets of a window', () => {
    expect(relativePositionIndex([2, 2])).toEqual(
      [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
      ].flat(),
    );
    expect(relativePositionIndex([1, 2], true)).toEqual([5, 3, 3, 4, 1, 0, 4, 2, 1]);
  });

  it('are read from a table by rows and columns, from the query to the key', async () => {
    const { y, state } = await run(1, [1, 1], (layers, x) => {
      const bias = relativePositionGrid(layers, [1, 2], 2);
      const first = layers.scope('again', () => relativePositionGrid(layers, [1, 2], 2));
      const indices = [...layers.graph.constants.keys()].filter((name) => name.includes('index'));
      expect(indices).toHaveLength(1);
      const sum = layers.builder.op('Add', [
        bias,
        layers.builder.op('Mul', [first, layers.builder.scalar(0)]),
      ]);
      return layers.builder.op('Add', [sum, layers.builder.op('Mul', [x, layers.builder.scalar(0)])]);
    });
    const table = state.get('relative_position_bias_table')!;
    expect(table.shape).toEqual([2, 1, 3]);
    const expected = [0, 1].flatMap((head) => [1, 2, 0, 1].map((i) => table.floats[3 * head + i]));
    expect([...y]).toEqual([...expected, ...expected].slice(0, y.length));
  });

  it('are added to the scores of every head', async () => {
    const { shape, state } = await run(4, [2, 2], (layers, x) => {
      const bias = relativePositionBias(layers, { window: [2, 2], heads: 2 });
      return attention(layers, imageToTokens(layers, x), {
        heads: 2,
        qkvBias: true,
        projBias: true,
        qkNorm: undefined,
        scaleNorm: undefined,
        biases: [bias],
      });
    });
    expect(shape).toEqual([2, 4, 4]);
    expect(state.get('relative_position_bias_table')!.shape).toEqual([9, 2]);
    expect([...state.keys()]).not.toContain('relative_position_index');
  });
});

describe('modules in two places', () => {
  it('have all their parameters under both names, and one tensor', async () => {
    const { state } = await run(2, [2, 2], (layers, x) => {
      const y = conv(layers, 'shared.proj', x, 2, { kernel: 1 });
      layers.scope('block', () => layers.moduleAlias('cpe', 'shared'));
      return y;
    });
    expect([...state.keys()].sort()).toEqual([
      'block.cpe.proj.bias',
      'block.cpe.proj.weight',
      'shared.proj.bias',
      'shared.proj.weight',
    ]);
    expect(state.get('block.cpe.proj.weight')).toBe(state.get('shared.proj.weight'));
  });
});
