import { expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { quantizeDynamic } from '../quantize/dynamic.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { layerSensitivity } from './sensitivity.ts';

const width = 16;

function normal(seed: number, shape: readonly number[], scale = 1): Tensor {
  const random = new Random(seed);
  const size = shape.reduce((a, b) => a * b);
  return Tensor.float32(
    shape,
    Float32Array.from({ length: size }, () => scale * random.normal()),
  );
}

/** Three layers; the second reads one channel that is much larger than the others, and hardly looks at it. */
function network(): Graph {
  const graph = new Graph('network');
  graph.opsets.set('', 18);
  const b = new Builder(graph);
  const x = graph.addInput('pixel_values', 'float32', ['N', 1, 4, 4]);
  const flat = b.op('Reshape', [x, b.ints([-1, width])]);
  const scales = new Float32Array(width).fill(1);
  scales[3] = 100;
  const second = normal(2, [width, width]);
  for (let i = 0; i < width; i++) second.floats[3 * width + i]! /= 100;
  const weight = (name: string, tensor: Tensor) => graph.addConstant(name, tensor);
  const one = b.op('MatMul', [flat, weight('first.weight', normal(1, [width, width]))]);
  const grown = b.op('Mul', [one, weight('scales', Tensor.float32([width], scales))]);
  const two = b.op('MatMul', [grown, weight('second.weight', second)]);
  const turned = b.op('Transpose', [weight('head.weight', normal(3, [5, width]))], { perm: [1, 0] });
  graph.outputs.push(b.op('MatMul', [two, turned], {}, 'logits'));
  return graph;
}

const pixels = normal(7, [6, 1, 4, 4]);

it('is what a model gives of which one layer alone is int8', async () => {
  const source = network();
  const { layers, all, samples } = await layerSensitivity(onnxruntime, source, [{ pixels }], {
    classifier: true,
  });
  expect(samples).toBe(6);
  expect(layers[0]!.layer).toBe('second.weight');
  const names = ['first.weight', 'second.weight', 'head.weight'];
  const exact = (await runOnce(onnxruntime, source, { pixel_values: pixels })).logits!.floats;
  const distance = async (ignore: string[]) => {
    const int8 = await quantizeDynamic(onnxruntime, source, { ignore });
    const given = (await runOnce(onnxruntime, int8, { pixel_values: pixels })).logits!.floats;
    const norm = (values: Float32Array) => Math.hypot(...values);
    return norm(given.map((value, i) => value - exact[i]!)) / norm(exact);
  };
  for (const { layer, relative, parameters } of layers) {
    expect(relative).toBeCloseTo(await distance(names.filter((name) => name !== layer)), 4);
    expect(parameters).toBe(layer === 'head.weight' ? 5 * width : width * width);
  }
  expect(all.relative).toBeCloseTo(await distance([]), 4);
});

it('counts predictions where it can', async () => {
  const source = network();
  const exact = (await runOnce(onnxruntime, source, { pixel_values: pixels })).logits!;
  const classes = Array.from({ length: 6 }, (_, row) => {
    const scores = [...exact.floats.subarray(5 * row, 5 * row + 5)];
    return scores.indexOf(Math.max(...scores));
  });
  const labels = Tensor.int64(classes);
  const { layers, all } = await layerSensitivity(onnxruntime, source, [{ pixels, labels }], {
    classifier: true,
    backend: 'qnnpack',
    weights: 'torch',
  });
  // The labels are what the model says: what is no longer the same is lost.
  for (const { agreement, drop } of [...layers, all]) expect(drop).toBeCloseTo(100 * (1 - agreement!), 9);
  expect(layers.map(({ agreement }) => agreement)).not.toEqual([1, 1, 1]);
  const features = await layerSensitivity(onnxruntime, source, [{ pixels }], {});
  expect(features.all).toMatchObject({ agreement: null, drop: null });
});

it('needs images', async () => {
  await expect(layerSensitivity(onnxruntime, network(), [], {})).rejects.toThrow(/needs images/);
});
