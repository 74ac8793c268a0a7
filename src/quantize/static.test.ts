import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { affine } from './affine.ts';
import { type BackendName, backends } from './backends.ts';
import { calibrate } from './calibrate.ts';
import { quantizeDynamic } from './dynamic.ts';
import { quantizedLayers } from './match-quantized.ts';
import { type Observer, type ObserverName, observers } from './observers.ts';
import { quantization } from './record.ts';
import { quantizeStatic } from './static.ts';

/** Numbers in (-1, 1) that look random and are the same each time. */
const noise = (count: number, seed = 1) =>
  Float32Array.from({ length: count }, (_, i) => (Math.sin((i + 1) * 12.9898 * seed) * 43758.5453) % 1);

/** Three Linears: the first two read the same value, the third follows the second with nothing between. */
function net(size: number | string = 'N') {
  const graph = new Graph('net');
  const x = graph.addInput('x', 'float32', [size, 5, 16]);
  const b = new Builder(graph);
  const weight = (name: string, shape: number[], seed: number) =>
    graph.addConstant(name, Tensor.float32(shape, noise(shape[0]! * shape[1]!, seed)));
  const transposed = (name: string, shape: number[], seed: number) =>
    b.op('Transpose', [weight(name, shape, seed)], { perm: [1, 0] });
  const bias = graph.addConstant('gate.bias', Tensor.float32([32], noise(32, 2)));
  const gate = b.op('Add', [b.op('MatMul', [x, transposed('gate.weight', [32, 16], 1)]), bias]);
  const value = b.op('MatMul', [x, weight('value.weight', [16, 32], 3)]);
  const deeper = b.op('MatMul', [value, transposed('deeper.weight', [32, 32], 4)]);
  graph.outputs.push(b.op('Mul', [b.op('Gelu', [gate]), deeper], {}, 'y'));
  return graph;
}

const batch = (images: number, seed: number) => Tensor.float32([images, 5, 16], noise(images * 80, seed));
const batches = [batch(4, 5), batch(4, 6), batch(3, 7)];

async function* stream(tensors: readonly Tensor[] = batches) {
  for (const pixels of tensors) yield { pixels };
}

const feeds = { x: batch(2, 8) };

const distance = (a: Float32Array, b: Float32Array) =>
  Math.hypot(...a.map((v, i) => v - b[i]!)) / Math.hypot(...b);

describe('calibrate', () => {
  it.each(Object.keys(observers) as ObserverName[])('%s sees every number once', async (observer) => {
    const source = net();
    const names = ['x', 'MatMul_1'].map((name) => source.find(name)!.name);
    const watched = await calibrate(onnxruntime, source, names, { data: stream(), observer });
    const { graph: probe } = source.clone();
    probe.outputs.splice(
      0,
      Infinity,
      new Builder(probe).op('Identity', [probe.find(names[1]!)!], {}, 'probe'),
    );
    const reference = names.map(() => observers[observer].create());
    for (const pixels of batches) {
      const { probe: inner } = await runOnce(onnxruntime, probe, { x: pixels });
      [pixels, inner!].forEach(({ floats }, i) => {
        reference[i]!.observe({ min: Math.min(...floats), max: Math.max(...floats) }, floats);
      });
    }
    names.forEach((name, i) => {
      expect(watched.get(name)!.range(255)).toEqual(reference[i]!.range(255));
    });
  });

  it.each([1, 3, 8])('feeds a model that takes %s images at a time', async (size) => {
    const source = net(size);
    const b = new Builder(source);
    source.outputs.push(b.op('ArgMax', [source.outputs[0]], { axis: -1 }));
    const data = stream();
    const watched = await calibrate(onnxruntime, source, ['x'], { data, observer: 'minmax' });
    const numbers = batches.flatMap(({ floats }) => [...floats]);
    const range = { min: Math.min(...numbers), max: Math.max(...numbers) };
    const reference: Observer = observers.minmax.create();
    reference.observe(range);
    expect(watched.get('x')!.range(255)).toEqual(reference.range(255));
  });

  it('says which activation is no number, and in which batch', async () => {
    const bad = Float32Array.from(noise(80));
    bad[7] = Number.POSITIVE_INFINITY;
    const data = stream([batch(2, 1), Tensor.float32([1, 5, 16], bad)]);
    const calibration = calibrate(onnxruntime, net(), ['x'], { data, observer: 'minmax' });
    await expect(calibration).rejects.toThrow(/batch 1: x is infinite/);
    bad[7] = Number.NaN;
    const again = calibrate(onnxruntime, net(), ['x'], {
      data: stream([Tensor.float32([1, 5, 16], bad)]),
      observer: 'mse',
    });
    await expect(again).rejects.toThrow(/batch 0: .* not a number/);
  });
});

describe('quantizeStatic', () => {
  const cases = (Object.keys(backends) as BackendName[]).flatMap((backend) =>
    (Object.keys(observers) as ObserverName[]).map((observer) => ({ backend, observer })),
  );

  it.each(cases)('$backend with $observer stays close to float32', async ({ backend, observer }) => {
    const source = net();
    const graph = await quantizeStatic(onnxruntime, source, { backend, observer, data: stream() });
    expect(checkGraph(graph)).toEqual([]);
    const layers = quantizedLayers(graph);
    expect(layers.map(({ weight }) => [weight.name, weight.dtype, weight.shape])).toEqual([
      ['gate.weight', 'int8', [16, 32]],
      ['value.weight', 'int8', [16, 32]],
      ['deeper.weight', 'int8', [32, 32]],
    ]);
    expect(layers.map(({ bias }) => bias?.name)).toEqual(['gate.bias', undefined, undefined]);
    expect(layers[0]!.activation!.quantized).toBe(layers[1]!.activation!.quantized);
    expect(layers[2]!.activation!.quantized).not.toBe(layers[1]!.activation!.quantized);
    const exact = (await runOnce(onnxruntime, source, feeds)).y!.floats;
    const got = (await runOnce(onnxruntime, graph, feeds)).y!.floats;
    expect(distance(got, exact)).toBeLessThan(0.025);
    expect(distance(got, exact)).toBeGreaterThan(0);
    expect(quantization(graph)).toEqual({
      dtype: 'int8',
      scheme: 'static',
      backend,
      observer,
      weights: 'safe',
      assumeVnni: false,
      reduceRange: false,
      weightError: { relative: expect.any(Number), plain: expect.any(Number) },
      ignored: [],
    });
  });

  it('writes the scale and zero point that the observed range gives', async () => {
    const levels = 127;
    const graph = await quantizeStatic(onnxruntime, net(), {
      backend: 'fbgemm',
      weights: 'torch',
      observer: 'minmax',
      data: stream(),
    });
    const floats = batches.flatMap((tensor) => [...tensor.floats]);
    const { scale, zeroPoint } = affine({ min: Math.min(...floats), max: Math.max(...floats) }, levels);
    const { activation } = quantizedLayers(graph)[0]!;
    expect(activation!.scale.tensor!.floats[0]).toBe(scale);
    expect(activation!.zeroPoint.tensor).toMatchObject({ dtype: 'uint8', shape: [] });
    expect(activation!.zeroPoint.tensor!.integers).toEqual([zeroPoint]);
  });

  it('gives an image the same result in any company', async () => {
    const graph = await quantizeStatic(onnxruntime, net(), { data: stream() });
    const alone = batch(1, 8).floats;
    const loud = Float32Array.from([...alone, ...batch(1, 9).floats.map((v) => v * 50)]);
    const one = (await runOnce(onnxruntime, graph, { x: Tensor.float32([1, 5, 16], alone) })).y!.floats;
    const two = (await runOnce(onnxruntime, graph, { x: Tensor.float32([2, 5, 16], loud) })).y!.floats;
    expect(distance(two.subarray(0, one.length), one)).toBeLessThan(1e-6);
  });

  it('leaves the source, and ignored weights, as they were', async () => {
    const source = net();
    const graph = await quantizeStatic(onnxruntime, source, { data: stream(), ignore: ['value.*'] });
    expect(source.constants.get('gate.weight')!.dtype).toBe('float32');
    expect(source.nodes.some((node) => node.op === 'QuantizeLinear')).toBe(false);
    expect(graph.constants.get('value.weight')!.dtype).toBe('float32');
    expect(quantization(graph)!.ignored).toEqual(['value.weight']);
  });

  it('refuses what it can not do, in one line', async () => {
    const none = quantizeStatic(onnxruntime, net(), { data: undefined });
    await expect(none).rejects.toThrow('static quantization needs --data');
    await expect(quantizeStatic(onnxruntime, net(), { data: stream([]) })).rejects.toThrow(/needs --data/);
    const dynamic = await quantizeDynamic(onnxruntime, net());
    await expect(quantizeStatic(onnxruntime, dynamic, { data: stream() })).rejects.toThrow(
      /already quantized/,
    );
    const quantized = await quantizeStatic(onnxruntime, net(), { data: stream() });
    await expect(quantizeDynamic(onnxruntime, quantized)).rejects.toThrow(/already quantized/);
    const unknown = quantizeStatic(onnxruntime, net(), { data: stream(), observer: 'kl' as ObserverName });
    await expect(unknown).rejects.toThrow(/"kl".*minmax, percentile, mse/);
  });
});

describe('quantizeDynamic', () => {
  it('quantizes a Linear that reads another one directly', async () => {
    const source = net();
    const graph = await quantizeDynamic(onnxruntime, source);
    expect(checkGraph(graph)).toEqual([]);
    expect(graph.nodes.filter((node) => node.op === 'MatMul')).toEqual([]);
    const exact = (await runOnce(onnxruntime, source, feeds)).y!.floats;
    expect(distance((await runOnce(onnxruntime, graph, feeds)).y!.floats, exact)).toBeLessThan(0.02);
  });
});
