import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { quantizeDynamic } from '../quantize/dynamic.ts';
import { toFloat16 } from '../quantize/float16.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { loadModel } from '../zoo/load.node.ts';
import { initModel } from '../zoo/model.ts';
import { setModelInfo } from '../zoo/model-info.ts';
import { exportModelFile } from './export-file.node.ts';
import type { FileCard } from './file-card.ts';

const folder = mkdtempSync(join(tmpdir(), 'pqv-file-card-'));
afterAll(() => rmSync(folder, { recursive: true }));

let trained: Graph;
beforeAll(async () => {
  trained = await loadModel('examples/cifar10_vit');
});

async function exported(graph: Graph, name: string, format = 'onnx', options = {}): Promise<FileCard> {
  const { card } = await exportModelFile(onnxruntime, graph, format, join(folder, name), options);
  expect(card).toBe(join(folder, `${name}.json`));
  return JSON.parse(readFileSync(card, 'utf8'));
}

/** What an app does with nothing but the card at hand. */
function prepared({ image, golden, inputs }: FileCard, slip: (channel: number) => number = (c) => c): Tensor {
  const [, H, W] = image!.preprocessing.inputSize;
  const { width, height, channels, pixels } = golden!.image;
  const bytes = Buffer.from(pixels, 'base64');
  const chw = image!.layout === 'NCHW';
  const values = new Float32Array(H * W * channels);
  for (let y = 0; y < H; y++) {
    for (let x = 0; x < W; x++) {
      const from = (Math.floor((y * height) / H) * width + Math.floor((x * width) / W)) * channels;
      for (let c = 0; c < channels; c++) {
        const at = chw ? (c * H + y) * W + x : (y * W + x) * channels + c;
        values[at] = bytes[from + slip(c)]! * image!.scale[c]! + image!.offset[c]!;
      }
    }
  }
  const shape = chw ? [1, channels, H, W] : [1, H, W, channels];
  return inputs[0]!.dtype === 'uint8'
    ? new Tensor('uint8', shape, Uint8Array.from(values))
    : Tensor.float32(shape, values);
}

async function scores(file: string, { inputs, outputs }: FileCard, tensor: Tensor): Promise<Float32Array> {
  const found = await runOnce(onnxruntime, join(folder, file), { [inputs[0]!.name]: tensor });
  return found[outputs[0]!.name]!.floats;
}

const right = ({ golden }: FileCard, found: Float32Array): boolean =>
  golden!.top5.every(({ index, score }) => Math.abs(found[index]! - score) <= golden!.tolerance);

describe('the card beside a file', () => {
  it.each([
    ['plain.onnx', {}],
    ['app.onnx', { input: 'pixels', scores: 'probabilities' }],
  ])('%s: an app tests itself by it, and notices channels in the wrong order', async (name, options) => {
    const card = await exported(trained, name, 'onnx', options);
    expect(card.golden!.top5).toHaveLength(5);
    expect(right(card, await scores(name, card, prepared(card)))).toBe(true);
    expect(card.golden!.catches).toContain('channels in the order BGR');
    expect(
      right(
        card,
        await scores(
          name,
          card,
          prepared(card, (c) => 2 - c),
        ),
      ),
    ).toBe(false);
    const bytes = readFileSync(join(folder, name));
    expect(card).toMatchObject({
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      classNames: expect.arrayContaining(['airplane']),
    });
  });

  it('an int8 file of another engine layout holds it too', async () => {
    const card = await exported(await quantizeDynamic(onnxruntime, trained, {}), 'int8.ort', 'ort');
    expect(card.precision).toBe('int8');
    expect(right(card, await scores('int8.ort', card, prepared(card)))).toBe(true);
  });

  it("an int8 file's scores are those of the image by itself", async () => {
    // Without a norm before them, its layers have ranges that an image with values up to 255 would stretch.
    const model = await loadModel('examples/mnist_vit');
    for (const node of model.nodes.filter(({ op }) => op === 'LayerNormalization'))
      model.replaceUses(node.output(), node.input(0));
    model.removeDead();
    const card = await exported(await quantizeDynamic(onnxruntime, model, {}), 'range.onnx');
    const found = await scores('range.onnx', card, prepared(card));
    const largest = Math.max(...found.map(Math.abs));
    for (const { index, score } of card.golden!.top5)
      expect(Math.abs(score - found[index]!)).toBeLessThan(1e-4 * largest);
  });

  it('tells every mistake of preparation by a trained model', async () => {
    const { golden } = await exported(trained, 'mistakes.onnx');
    expect(golden!.catches).toHaveLength(4);
  });

  it('says how a LiteRT file takes images', async () => {
    const half = await toFloat16(onnxruntime, trained);
    const card = await exported(half, 'half.tflite', 'tflite');
    expect(card.inputs).toMatchObject([{ dtype: 'float32', shape: [1, 32, 32, 3] }]);
    expect(card.image).toMatchObject({ layout: 'NHWC', channelOrder: 'RGB', assumed: false });
    expect(card.image!.steps.at(-1)).toMatch(/side by side: \[1, 32, 32, 3\]/);
    expect(card.image!.range[0]).toBeCloseTo(Math.min(...card.image!.offset));
  });

  it('has no golden sample where there are no classes, and says so', async () => {
    const model = initModel({
      architecture: 'vit_tiny_patch16_224',
      modelArgs: { img_size: 32, embed_dim: 32, depth: 1, num_heads: 2 },
      numClasses: 0,
    });
    expect(await exported(model, 'features.onnx')).toMatchObject({
      scores: 'features',
      golden: null,
      notes: ['no golden sample: the model gives no scores of classes'],
    });
    for (const shape of [
      ['N', 4],
      ['N', 2, 8, 8],
    ]) {
      const graph = new Graph();
      const x = graph.addInput('x', 'float32', shape);
      graph.outputs.push(new Builder(graph).op('Relu', [x]));
      expect(await exported(graph, 'numbers.onnx')).toMatchObject({ image: null, golden: null });
    }
  });

  it('is written for grey images, and for a model of one batch size', async () => {
    const grey = await exported(await loadModel('examples/mnist_vit'), 'grey.onnx');
    expect(grey.golden!.image.channels).toBe(1);
    expect(right(grey, await scores('grey.onnx', grey, prepared(grey)))).toBe(true);
    const { graph: four } = trained.clone();
    four.inputs[0]!.shape = [2, ...four.inputs[0]!.shape!.slice(1)];
    setModelInfo(four, { ...JSON.parse(trained.metadata.get('pqv.model')!) });
    expect((await exported(four, 'two.onnx')).golden!.top5).toEqual(
      (await exported(trained, 'any.onnx')).golden!.top5,
    );
  });

  it('comes and goes with its file', async () => {
    const before = readdirSync(folder);
    const refused = exportModelFile(onnxruntime, trained, 'onnx', join(folder, 'no.onnx'), { form: 'quick' });
    await expect(refused).rejects.toThrow();
    expect(readdirSync(folder)).toEqual(before);
  });
});
