import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Random } from '../common/random.ts';
import { checkGraph } from '../graph/check.ts';
import type { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { quantizeDynamic } from '../quantize/dynamic.ts';
import { toFloat16 } from '../quantize/float16.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { inAppForm, outOfAppForm } from './app-form.ts';
import { initModel } from './model.ts';
import { modelInfo } from './model-info.ts';

const vit = (channels = 3, numClasses = 5) =>
  initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: {
      img_size: [16, 24],
      patch_size: 8,
      in_chans: channels,
      embed_dim: 24,
      depth: 2,
      num_heads: 2,
    },
    numClasses,
  });

/** Pixels of two images `[N, H, W, C]`. */
function pixelsFor(graph: Graph): Tensor {
  const [channels, height, width] = modelInfo(graph).preprocessing.inputSize;
  const random = new Random(3);
  const data = Uint8Array.from({ length: 2 * height * width * channels }, () => random.below(256));
  return new Tensor('uint8', [2, height, width, channels], data);
}

/** `(x / 255 - mean) / std` as `[N, C, H, W]`. */
function normalized(graph: Graph, pixels: Tensor): Tensor {
  const { mean, std } = modelInfo(graph).preprocessing;
  const [images, height, width, channels] = pixels.shape as [number, number, number, number];
  const found = new Float32Array(pixels.size);
  pixels.integers.forEach((pixel, i) => {
    const [c, place, image] = [
      i % channels,
      Math.floor(i / channels) % (height * width),
      Math.floor(i / channels / height / width),
    ];
    found[(image * channels + c) * height * width + place] = (Number(pixel) / 255 - mean[c]!) / std[c]!;
  });
  return Tensor.float32([images, channels, height, width], found);
}

const first = async (graph: Graph, images: Tensor): Promise<Tensor> =>
  Object.values(await runOnce(onnxruntime, graph, { [graph.inputs[0]!.name]: images }))[0]!;

function distance(found: Tensor, expected: Tensor): number {
  const norm = Math.hypot(...expected.floats);
  return Math.hypot(...found.floats.map((value, i) => value - expected.floats[i]!)) / norm;
}

const softmax = (logits: Tensor): Tensor => {
  const rows = logits.shape[0]!;
  const classes = logits.size / rows;
  const found = Float32Array.from(logits.floats, (value, i) => {
    const row = logits.floats.subarray(
      Math.floor(i / classes) * classes,
      (Math.floor(i / classes) + 1) * classes,
    );
    return Math.exp(value) / row.reduce((sum, one) => sum + Math.exp(one), 0);
  });
  return Tensor.float32(logits.shape, found);
};

const models: [string, number, () => Promise<Graph>][] = [
  ['float32', 1e-5, async () => vit()],
  ['one channel', 1e-5, async () => vit(1)],
  ['dynamic int8', 1e-5, () => quantizeDynamic(onnxruntime, vit())],
  ['float16', 2e-3, () => toFloat16(onnxruntime, vit())],
];

describe.each(models)('a model for an app: %s', (_, tolerance, make) => {
  it('takes pixels as a camera has them, and gives probabilities', async () => {
    const model = await make();
    const app = inAppForm(model, { input: 'pixels', scores: 'probabilities' });
    checkGraph(app);
    const [channels, height, width] = modelInfo(model).preprocessing.inputSize;
    expect(app.inputs[0]).toMatchObject({
      name: model.inputs[0]!.name,
      dtype: 'uint8',
      shape: ['N', height, width, channels],
    });
    const pixels = pixelsFor(model);
    const logits = await first(model, normalized(model, pixels));
    expect(distance(await first(app, pixels), softmax(logits))).toBeLessThan(tolerance);
  });

  it('is read from such a file as what it was', async () => {
    const model = await make();
    const app = inAppForm(model, { input: 'pixels', scores: 'probabilities' });
    outOfAppForm(app);
    checkGraph(app);
    expect(app.nodes.map(({ op }) => op)).toEqual(model.nodes.map(({ op }) => op));
    expect(app.inputs[0]).toMatchObject({ name: model.inputs[0]!.name, dtype: 'float32' });
    expect(app.outputs[0]!.name).toBe(model.outputs[0]!.name);
    expect([...app.metadata.keys()]).toEqual([...model.metadata.keys()]);
  });
});

it('leaves a model alone of which nothing is asked', () => {
  const model = vit();
  expect(inAppForm(model, { input: 'normalized', scores: 'logits' })).toBe(model);
});

it('refuses probabilities of a model without classes', () => {
  expect(() => inAppForm(vit(3, 0), { input: 'normalized', scores: 'probabilities' })).toThrow(UserError);
});
