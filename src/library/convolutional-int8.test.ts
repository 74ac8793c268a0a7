import * as ort from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { exportOnnx } from '../export/onnx.ts';
import type { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { quantizedLayers } from '../quantize/match-quantized.ts';
import { noiseFeeds } from '../runtime/noise.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { onnxruntimeWeb } from '../runtime/onnxruntime-web.ts';
import { type Engine, runOnce } from '../runtime/session.ts';
import { initModel } from '../zoo/model.ts';
import { quantize } from './quantize.ts';

const engines: Record<string, Engine> = { native: onnxruntime, WebAssembly: onnxruntimeWeb(ort) };

/** The smallest of each family that timm has, at full size; of the MaxViTs the beginning of each stage. */
const models: Record<string, Record<string, unknown>> = {
  mobilevit_xxs: {},
  levit_128s: {},
  efficientformerv2_s0: {},
  fastvit_t8: {},
  pvt_v2_b0: {},
  maxvit_rmlp_pico_rw_256: { depths: [1, 1, 1, 1] },
};

/** Those with the most kinds of convolutions. */
const trunks = ['mobilevit_xxs', 'fastvit_t8'];

const norm = (values: Float32Array) => Math.hypot(...values);
const distance = (a: Float32Array, b: Float32Array) => norm(a.map((value, i) => value - b[i]!)) / norm(b);

/** One image. */
function noise(source: Graph): Tensor {
  const [, ...shape] = noiseFeeds(source).pixel_values!.shape;
  const size = shape.reduce((product, length) => product * length, 1);
  return Tensor.float32([1, ...shape], noiseFeeds(source).pixel_values!.floats.slice(0, size));
}

async function logits(engine: Engine, model: Graph | Uint8Array, source: Graph): Promise<Float32Array> {
  return Object.values(await runOnce(engine, model, { pixel_values: noise(source) }))[0]!.floats;
}

const fileOf = async (graph: Graph) => Buffer.concat((await exportOnnx(onnxruntime, graph)).model);

describe.each(Object.entries(models))('%s', (architecture, modelArgs) => {
  const source = initModel({ architecture, modelArgs }, 1);

  it('is a quarter of its size in int8, close to FP32, and runs on every engine', async () => {
    const quantized = await quantize(onnxruntime, source, {});
    const [model, before] = [await fileOf(quantized), await fileOf(source)];
    expect(model.length / before.length).toBeLessThan(0.35);
    const exact = await logits(onnxruntime, source, source);
    for (const engine of Object.values(engines)) {
      expect(distance(await logits(engine, model, source), exact)).toBeLessThan(0.08);
    }
  });

  it.runIf(trunks.includes(architecture))(
    'multiplies the integers of its convolutions under the static scheme',
    async () => {
      async function* batches() {
        yield { pixels: noise(source), labels: Tensor.int64([0]) };
      }
      const quantized = await quantize(onnxruntime, source, {
        scheme: 'static',
        observer: 'minmax',
        data: batches(),
      });
      expect(quantizedLayers(quantized).some(({ result }) => result)).toBe(true);
      const [model, before] = [await fileOf(quantized), await fileOf(source)];
      expect(model.length / before.length).toBeLessThan(0.35);
      const exact = await logits(onnxruntime, source, source);
      expect(distance(await logits(onnxruntime, model, source), exact)).toBeLessThan(0.15);
    },
  );
});
