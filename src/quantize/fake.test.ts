import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { backward } from '../autodiff/backward.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce, type SessionOptions } from '../runtime/session.ts';
import { initModel } from '../zoo/model.ts';
import type { Affine } from './affine.ts';
import { type BackendName, backends, numbersOf, weightKinds } from './backends.ts';
import { quantizeDynamic } from './dynamic.ts';
import { type FakeQuantization, fakeQuantize } from './fake.ts';
import { toForm } from './forms.ts';
import { layersToQuantize } from './layers.ts';
import { calibratedRanges, quantizeStatic } from './static.ts';
import { WeightQuantizer } from './weight-quantizer.ts';

describe.each(['dynamic', 'static'] as const)('a ViT of %s int8 numbers', (scheme) => {
  const model = initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 16, patch_size: 4, depth: 2, embed_dim: 66, num_heads: 2 },
    numClasses: 10,
  });
  const images = (count: number, seed: number, size: number) => {
    const noise = (i: number) => (Math.sin((i + 1) * 12.9898 * seed) * 43758.5453) % 1;
    const pixels = Float32Array.from({ length: count * 768 }, (_, i) => size * noise(i));
    return Tensor.float32([count, 3, 16, 16], pixels);
  };
  async function* data() {
    for (const seed of [1, 2]) yield { pixels: images(4, seed, 2) };
  }
  /** Louder than what ranges are found on, so that some is cut off. */
  const feeds = { pixel_values: images(3, 5, 3) };
  const logits = async (graph: Graph, options?: SessionOptions) =>
    (await runOnce(onnxruntime, graph, feeds, { threads: 1, ...options })).logits!.floats;
  const distance = (a: Float32Array, b: Float32Array) =>
    Math.hypot(...a.map((v, i) => v - b[i]!)) / Math.hypot(...b);
  const choices = (Object.keys(backends) as BackendName[]).flatMap((backend) =>
    weightKinds.map((weights) => ({ backend, weights, ignore: backend === 'qnnpack' ? ['head.*'] : [] })),
  );

  it.each(choices)('computes what int8 does: $backend, $weights weights', async (choice) => {
    const { graph } = model.clone();
    const { layers } = layersToQuantize(graph, choice);
    const calibrated = () =>
      calibratedRanges(onnxruntime, graph, layers, numbersOf(choice), { data: data() });
    const ranges = scheme === 'static' ? { ranges: await calibrated() } : {};
    fakeQuantize(graph, { ...choice, ...ranges });
    expect(checkGraph(graph)).toEqual([]);
    expect(graph.constants.get('blocks.1.mlp.fc2.weight')).toMatchObject({ dtype: 'float32' });
    const found = await logits(graph);

    const quantized = await (scheme === 'static'
      ? quantizeStatic(onnxruntime, model, { ...choice, data: data() })
      : quantizeDynamic(onnxruntime, model, choice));
    // Products of floats, as sums of integers may overflow on this processor unless the weights are safe.
    const exact = await logits(toForm(quantized, 'qdq'), { optimization: 'disabled' });
    expect(distance(found, exact)).toBeLessThan(2e-6);
    if (choice.weights === 'safe') expect(distance(found, await logits(quantized))).toBeLessThan(2e-6);
    expect(distance(found, await logits(model))).toBeGreaterThan(1e-3);
  });
});

interface TorchCases {
  /** Rows of x, columns of x, output channels. */
  readonly shape: readonly [number, number, number];
  readonly x: number[];
  readonly weight: number[];
  readonly bias: number[];
  /** What y is multiplied by in the loss. */
  readonly slope: number[];
  readonly cases: readonly (Affine & {
    readonly backend: BackendName;
    readonly scheme: 'dynamic' | 'static';
    readonly y: number[];
    readonly dx: number[];
    readonly dWeight: number[];
  })[];
}

const torch = JSON.parse(
  readFileSync(new URL('fake-torch-cases.json', import.meta.url), 'utf8'),
) as TorchCases;
const [rows, inputs, outputs] = torch.shape;

/** The Linear of PyTorch's cases: its result, and gradients of x and weight. */
async function linear(numbers: FakeQuantization) {
  const graph = new Graph('linear');
  const x = graph.addInput('x', 'float32', ['N', inputs]);
  const b = new Builder(graph);
  const weight = graph.addConstant('fc.weight', Tensor.float32([outputs, inputs], torch.weight));
  const bias = graph.addConstant('fc.bias', Tensor.float32([outputs], torch.bias));
  const product = b.op('MatMul', [x, b.op('Transpose', [weight], { perm: [1, 0] })]);
  graph.outputs.push(b.op('Add', [product, bias], {}, 'y'));
  const straight = fakeQuantize(graph, numbers);
  graph.constantToInput(weight);
  const [y] = graph.outputs;
  const end = new Builder(graph);
  const weighed = end.op('Mul', [y, Tensor.float32([rows, outputs], torch.slope)]);
  const loss = end.op('ReduceSum', [weighed], { keepdims: 0 });
  const gradients = backward(graph, loss, [x, weight], straight);
  const [dx, dWeight] = [gradients.get(x)!, gradients.get(weight)!];
  graph.outputs.push(dx, dWeight);
  expect(checkGraph(graph)).toEqual([]);
  const results = await runOnce(onnxruntime, graph, {
    x: Tensor.float32([rows, inputs], torch.x),
    'fc.weight': Tensor.float32([outputs, inputs], torch.weight),
  });
  const floats = (name: string) => Array.from(results[name]!.floats);
  return { y: floats(y!.name), dx: floats(dx.name), dWeight: floats(dWeight.name) };
}

const expectClose = (found: number[], wanted: number[]) => {
  expect(found).toHaveLength(wanted.length);
  found.forEach((value, i) => {
    expect(Math.abs(value - wanted[i]!), `[${i}]: ${value} for ${wanted[i]}`).toBeLessThan(2e-5);
    expect(value === 0, `[${i}] is cut off`).toBe(wanted[i] === 0);
  });
};

describe('gradients through the rounding', () => {
  it.each(torch.cases)('are those of FakeQuantize in PyTorch: $backend, $scheme', async (one) => {
    const { backend, scheme, scale, zeroPoint } = one;
    const ranges = scheme === 'static' ? { ranges: new Map([['x', { scale, zeroPoint }]]) } : {};
    const { y, dx, dWeight } = await linear({ backend, weights: 'torch', ...ranges });
    expectClose(y, one.y);
    expectClose(dx, one.dx);
    expectClose(dWeight, one.dWeight);
    // Something is cut off in each case: what lies beyond a range, and the largest weights, which round to 128.
    expect(dWeight).toContain(0);
    if (scheme === 'static') expect(dx).toContain(0);
  });

  it('of weights that cannot overflow go past the pairs too', async () => {
    const { dx, dWeight } = await linear({});
    const weight = new Graph().addConstant('w', Tensor.float32([outputs, inputs], torch.weight));
    const quantizer = new WeightQuantizer(onnxruntime);
    const { values, scale } = await quantizer.quantize({ weight, layout: 'out,in' }, numbersOf({}));
    await quantizer.dispose();
    const [low, high] = [Math.min(...torch.x), Math.max(...torch.x)];
    const step = (high - low) / 255;
    const rounded = torch.x.map((value) => Math.round(value / step) * step);
    const slope = (row: number, o: number) => torch.slope[row * outputs + o]!;
    const sum = (count: number, term: (i: number) => number) =>
      Array.from({ length: count }, (_, i) => term(i)).reduce((a, c) => a + c, 0);
    torch.x.forEach((_, at) => {
      const [row, i] = [Math.floor(at / inputs), at % inputs];
      const wanted = sum(
        outputs,
        (o) => slope(row, o) * (values.data as Int8Array)[i * outputs + o]! * scale.floats[o]!,
      );
      expect(dx[at]).toBeCloseTo(wanted, 4);
    });
    torch.weight.forEach((w, at) => {
      const [o, i] = [Math.floor(at / inputs), at % inputs];
      const steps = Math.fround(w * Math.fround(1 / scale.floats[o]!));
      const wanted = steps < 127.5 ? sum(rows, (row) => slope(row, o) * rounded[row * inputs + i]!) : 0;
      expect(dWeight[at]).toBeCloseTo(wanted, 4);
    });
  });

  it('wants a range for all that is read, where any is given', () => {
    const graph = new Graph('linear');
    const x = graph.addInput('x', 'float32', ['N', 4]);
    const weight = graph.addConstant('fc.weight', Tensor.float32([4, 4], new Float32Array(16)));
    graph.outputs.push(new Builder(graph).op('MatMul', [x, weight], {}, 'y'));
    expect(() => fakeQuantize(graph, { ranges: new Map() })).toThrow(/no range was found for x/);
  });
});
