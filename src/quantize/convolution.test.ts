import * as ort from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { countMacs } from '../graph/cost.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { onnxruntimeWeb } from '../runtime/onnxruntime-web.ts';
import { type Engine, runOnce } from '../runtime/session.ts';
import { numbersOf } from './backends.ts';
import { correctBias } from './bias-correction.ts';
import { quantizeDynamic } from './dynamic.ts';
import { fakeQuantize } from './fake.ts';
import { forms, toForm } from './forms.ts';
import { layerErrors } from './layer-errors.ts';
import { layersToQuantize } from './layers.ts';
import { quantizedLayers } from './match-quantized.ts';
import type { QuantizedLayer } from './quantized-layer.ts';
import { quantization } from './record.ts';
import { calibratedRanges, quantizeStatic } from './static.ts';

const engines: Record<string, Engine> = { native: onnxruntime, WebAssembly: onnxruntimeWeb(ort) };

interface Case {
  inputs: number;
  outputs: number;
  window: [number, number];
  group?: number;
  strides?: [number, number];
  dilations?: [number, number];
  pads?: [number, number, number, number];
}

const cases: Record<string, Case> = {
  '1x1': { inputs: 13, outputs: 10, window: [1, 1] },
  '3x3': { inputs: 5, outputs: 8, window: [3, 3], pads: [1, 1, 1, 1] },
  strided: { inputs: 6, outputs: 8, window: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
  'unevenly padded': { inputs: 4, outputs: 6, window: [3, 2], pads: [0, 1, 2, 0] },
  dilated: { inputs: 4, outputs: 6, window: [3, 3], dilations: [2, 1], pads: [2, 1, 2, 1] },
  grouped: { inputs: 12, outputs: 8, window: [3, 3], group: 4, pads: [1, 1, 1, 1] },
  depthwise: { inputs: 8, outputs: 8, window: [3, 3], group: 8, pads: [1, 1, 1, 1] },
  'two filters a channel': { inputs: 6, outputs: 12, window: [3, 3], group: 6, strides: [2, 2] },
  patches: { inputs: 3, outputs: 16, window: [4, 4], strides: [4, 4] },
};

const size = 8;
const pads = ({ pads = [0, 0, 0, 0] }: Case) => pads;

/** A rectifier, so that it is not the image that is read, and a convolution. @param fill a number of the kernel */
function network(one: Case, fill: (i: number) => number, bias?: readonly number[]): Graph {
  const { inputs, outputs, window, group = 1, strides = [1, 1], dilations = [1, 1] } = one;
  const graph = new Graph('convolution');
  graph.opsets.set('', 18);
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', inputs, size, size]);
  const shape = [outputs, inputs / group, ...window];
  const count = shape.reduce((product, length) => product * length, 1);
  const weight = graph.addConstant(
    'conv.weight',
    Tensor.float32(
      shape,
      Float32Array.from({ length: count }, (_, i) => fill(i)),
    ),
  );
  const operands = [b.op('Relu', [x]), weight];
  if (bias) operands.push(graph.addConstant('conv.bias', Tensor.float32([outputs], bias)));
  const attributes = { group, strides, dilations, pads: pads(one), kernel_shape: window };
  graph.outputs.push(b.op('Conv', operands, attributes, 'y'));
  return graph;
}

/** The convolution as its definition says, in float64. */
function convolved(one: Case, x: ArrayLike<number>, weight: ArrayLike<number>, images: number): number[] {
  const { inputs, outputs, window, group = 1, strides = [1, 1], dilations = [1, 1] } = one;
  const [top, left, bottom, right] = pads(one);
  const length = (axis: 0 | 1, around: number) =>
    Math.floor((size + around - dilations[axis] * (window[axis] - 1) - 1) / strides[axis]) + 1;
  const [height, width] = [length(0, top + bottom), length(1, left + right)];
  const inside = inputs / group;
  const results: number[] = [];
  for (let n = 0; n < images; n++)
    for (let o = 0; o < outputs; o++)
      for (let r = 0; r < height; r++)
        for (let s = 0; s < width; s++) {
          let sum = 0;
          for (let c = 0; c < inside; c++)
            for (let i = 0; i < window[0]; i++)
              for (let j = 0; j < window[1]; j++) {
                const row = r * strides[0] + i * dilations[0] - top;
                const column = s * strides[1] + j * dilations[1] - left;
                if (row < 0 || column < 0 || row >= size || column >= size) continue;
                const channel = Math.floor(o / (outputs / group)) * inside + c;
                const at = ((n * inputs + channel) * size + row) * size + column;
                sum += x[at]! * weight[((o * inside + c) * window[0] + i) * window[1] + j]!;
              }
          results.push(sum);
        }
  return results;
}

const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  norm(Array.from(a, (value, i) => value - b[i]!)) / norm(b);

const random = new Random(5);
const imagesOf = ({ inputs }: Case, images: number, value: () => number) =>
  Tensor.float32(
    [images, inputs, size, size],
    Float32Array.from({ length: images * inputs * size * size }, value),
  );

const run = async (engine: Engine, graph: Graph, x: Tensor) =>
  (await runOnce(engine, graph, { x })).y!.floats;

const isStatic = ({ activation }: QuantizedLayer) => activation !== undefined;

describe.each(Object.entries(cases))('a convolution, %s', (name, one) => {
  const bias = Array.from({ length: one.outputs }, () => random.normal());
  const weight = () => random.normal();
  const x = imagesOf(one, 2, () => random.normal());
  const relu = x.floats.map((value) => Math.max(value, 0));
  async function* data() {
    yield { pixels: x };
  }

  it('keeps its kernel in int8 and multiplies floats under the dynamic scheme, in each form on each engine', async () => {
    const source = network(one, weight, bias);
    const quantized = await quantizeDynamic(onnxruntime, source);
    expect(checkGraph(quantized)).toEqual([]);
    expect(countMacs(quantized)).toBe(countMacs(source));
    const [layer] = quantizedLayers(quantized);
    expect(quantized.constants.get('conv.weight')).toBe(layer!.weight);
    expect(layer!.weight).toMatchObject({ dtype: 'int8', shape: source.find('conv.weight')!.shape });
    const numbers = layer!.weight.tensor!.data as Int8Array;
    const filter = numbers.length / one.outputs;
    const scales = layer!.weightScale.tensor!.floats;
    const kernel = Array.from(numbers, (value, i) => value * scales[Math.floor(i / filter)]!);
    const before = source.find('conv.weight')!.tensor!.floats;
    for (const [i, value] of kernel.entries()) {
      expect(Math.abs(value - before[i]!)).toBeLessThan(0.501 * scales[Math.floor(i / filter)]!);
    }
    const places = convolved(one, relu, kernel, 2);
    const each = places.length / 2 / one.outputs;
    const exact = places.map((value, i) => value + bias[Math.floor(i / each) % one.outputs]!);
    for (const engine of Object.values(engines)) {
      for (const form of forms) {
        const graph = toForm(quantized, form);
        expect(checkGraph(graph)).toEqual([]);
        expect(distance(await run(engine, graph, x), exact)).toBeLessThan(1e-6);
      }
    }
  });

  it('is close to float32 under the static scheme, in each form on each engine', async () => {
    const source = network(one, weight, bias);
    const exact = await run(onnxruntime, source, x);
    const quantized = await quantizeStatic(onnxruntime, source, { observer: 'minmax', data: data() });
    expect(checkGraph(quantized)).toEqual([]);
    const [layer] = quantizedLayers(quantized);
    expect(isStatic(layer!)).toBe(!['depthwise', 'two filters a channel'].includes(name));
    expect(countMacs(quantized)).toBe(countMacs(source));
    for (const engine of Object.values(engines)) {
      for (const form of forms) {
        const graph = toForm(quantized, form);
        expect(checkGraph(graph)).toEqual([]);
        if (isStatic(layer!)) {
          expect(graph.nodes.some(({ op }) => op === 'QLinearConv')).toBe(form === 'integer');
        }
        expect(distance(await run(engine, graph, x), exact)).toBeLessThan(0.02);
      }
    }
  });

  it('of the largest numbers is what integer arithmetic gives, where it multiplies integers', async () => {
    // Neighbours of one sign, of channels and of places: what overflows 16 bits unless weights are kept small.
    const source = network(one, () => random.uniform(0.9, 1));
    const bright = imagesOf(one, 1, () => (random.below(8) ? 1 : 0));
    async function* ones() {
      yield { pixels: bright };
    }
    const quantized = await quantizeStatic(onnxruntime, source, { observer: 'minmax', data: ones() });
    const { weight, weightScale, result } = quantizedLayers(quantized)[0]!;
    if (!result) return;
    const scales = weightScale.tensor!.floats;
    const sums = convolved(
      one,
      bright.floats.map((value) => 255 * value),
      weight.tensor!.data as Int8Array,
      1,
    );
    const each = sums.length / one.outputs;
    const step = result.scale.tensor!.floats[0]!;
    const exact = sums.map((sum, i) => (sum * scales[Math.floor(i / each)]!) / 255);
    for (const engine of Object.values(engines)) {
      for (const form of forms) {
        const found = await run(engine, toForm(quantized, form), bright);
        exact.forEach((value, i) => {
          expect(Math.abs(found[i]! - value)).toBeLessThan(0.51 * step);
        });
      }
    }
  });

  it.each(['dynamic', 'static'] as const)('is faked in float32 as %s int8 computes it', async (scheme) => {
    const source = network(one, weight, bias);
    const { graph } = source.clone();
    const { layers } = layersToQuantize(graph, {});
    const found = scheme === 'static' && {
      ranges: await calibratedRanges(onnxruntime, graph, layers, numbersOf({}), { data: data() }),
    };
    fakeQuantize(graph, { ...found });
    const quantized =
      scheme === 'static'
        ? await quantizeStatic(onnxruntime, source, { data: data() })
        : await quantizeDynamic(onnxruntime, source);
    const [a, b] = [await run(onnxruntime, graph, x), await run(onnxruntime, quantized, x)];
    // A sum that lies between two steps may be rounded to either.
    expect(distance(a, b)).toBeLessThan(scheme === 'static' ? 2e-3 : 1e-6);
  });

  it('has its error measured and its bias corrected', async () => {
    const source = network(one, weight);
    const quantized = await quantizeStatic(onnxruntime, source, { observer: 'minmax', data: data() });
    const exact = await run(onnxruntime, source, x);
    const { layers } = await layerErrors(onnxruntime, source, quantized, quantization(quantized)!, { x });
    expect(layers).toMatchObject([{ name: 'conv.weight' }]);
    expect(layers[0]!.error).toBeCloseTo(distance(await run(onnxruntime, quantized, x), exact), 4);
    await correctBias(onnxruntime, source, quantized, [{ x }]);
    expect(checkGraph(quantized)).toEqual([]);
    const { bias } = quantizedLayers(quantized)[0]!;
    expect(bias!.tensor!.size).toBe(one.outputs);
    expect(distance(await run(onnxruntime, quantized, x), exact)).toBeLessThan(0.02);
  });
});

describe('kernels', () => {
  const one = cases['3x3']!;

  it('that one tap outweighs stay in float32', async () => {
    const source = network(one, (i) => (i % 45 === 4 ? 50 : random.normal()));
    const quantized = await quantizeDynamic(onnxruntime, source);
    expect(quantized.constants.get('conv.weight')!.dtype).toBe('float32');
    expect(quantization(quantized)!.tooUneven).toEqual(['conv.weight']);
  });

  it('of a filter of zeros have room for its bias', async () => {
    const source = network(one, (i) => (i < 45 ? 0 : random.normal()), [30, 1, 0, 0, 0, 0, 0, -2]);
    const x = imagesOf(one, 1, () => random.normal() / 10);
    async function* data() {
      yield { pixels: x };
    }
    const quantized = await quantizeStatic(onnxruntime, source, { observer: 'minmax', data: data() });
    const exact = await run(onnxruntime, source, x);
    for (const form of forms) {
      for (const engine of Object.values(engines)) {
        expect(distance(await run(engine, toForm(quantized, form), x), exact)).toBeLessThan(0.02);
      }
    }
  });

  it('are left alone by patterns, and by the numbers of PyTorch', async () => {
    const source = network(one, () => random.normal());
    const refused = (options: object) => expect(quantizeDynamic(onnxruntime, source, options)).rejects;
    await refused({ ignore: ['conv.*'] }).toThrow(/every layer is ignored/);
    await refused({ weights: 'torch' }).toThrow(/no linear layers/);
  });
});

describe('a table of embeddings', () => {
  const [rows, width] = [300, 20];
  const numbers = Float32Array.from({ length: rows * width }, () => random.normal());
  const table = () => {
    const graph = new Graph('table');
    graph.opsets.set('', 18);
    const tokens = graph.addInput('tokens', 'int64', ['N', 3]);
    const weight = graph.addConstant('embed.weight', Tensor.float32([rows, width], numbers));
    graph.outputs.push(new Builder(graph).op('Gather', [weight, tokens], { axis: 0 }, 'y'));
    return graph;
  };
  const tokens = new Tensor('int64', [2, 3], BigInt64Array.of(0n, 299n, 7n, 7n, 150n, 1n));
  const found = async (engine: Engine, graph: Graph) => (await runOnce(engine, graph, { tokens })).y!.floats;
  const exact = Float32Array.from(
    tokens.integers.flatMap((row) => [...numbers.subarray(row * width, (row + 1) * width)]),
  );

  it('is stored in int8, a scale a row, in each form on each engine, and faked so', async () => {
    const source = table();
    const quantized = await quantizeDynamic(onnxruntime, source);
    expect(checkGraph(quantized)).toEqual([]);
    expect(quantized.constants.get('embed.weight')).toMatchObject({ dtype: 'int8', shape: [rows, width] });
    const scales = quantizedLayers(quantized)[0]!.weightScale.tensor!.floats;
    expect(scales).toHaveLength(rows);
    for (const engine of Object.values(engines)) {
      for (const form of forms) {
        const given = await found(engine, toForm(quantized, form));
        given.forEach((value, i) => {
          const step = scales[tokens.integers[Math.floor(i / width)]!]!;
          expect(Math.abs(value - exact[i]!)).toBeLessThan(0.501 * step);
        });
      }
    }
    const { graph } = source.clone();
    fakeQuantize(graph, {});
    expect(distance(await found(onnxruntime, graph), await found(onnxruntime, quantized))).toBeLessThan(1e-6);
  });

  it('stays as it is under PyTorch’s numbers, and where it is small', async () => {
    await expect(quantizeDynamic(onnxruntime, table(), { weights: 'torch' })).rejects.toThrow(
      /no linear layers/,
    );
    const small = table();
    small.setConstant(small.find('embed.weight')!, Tensor.float32([20, width], numbers.slice(0, 20 * width)));
    await expect(quantizeDynamic(onnxruntime, small)).rejects.toThrow(/no linear layers/);
  });
});
