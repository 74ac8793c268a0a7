import * as ort from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { onnxruntimeWeb } from '../runtime/onnxruntime-web.ts';
import { type Engine, runOnce } from '../runtime/session.ts';
import { quantizeDynamic } from './dynamic.ts';
import { forms, toForm } from './forms.ts';
import { quantizedLayers } from './match-quantized.ts';
import { quantizeStatic } from './static.ts';

const [rows, width, channels] = [3, 67, 40];
const random = new Random(3);

/** Activations 0 or 1 only: as uint8 they are 0 or 255 and their scale is 1/255, whoever quantizes them. */
const pixels = Tensor.float32(
  [rows, width],
  Float32Array.from({ length: rows * width }, (_, i) => (i < width ? 1 : random.below(2))),
);

/** Neighbours nearly all large and of one sign: what overflows 16 bits, unless the weights are kept small. */
function layer(): Graph {
  const graph = new Graph('layer');
  const x = graph.addInput('x', 'float32', ['N', width]);
  const b = new Builder(graph);
  const sign = (o: number, i: number) => ((o + (i >> 2)) % 2 ? -1 : 1);
  const weight = Float32Array.from({ length: channels * width }, (_, at) => {
    const [o, i] = [Math.floor(at / width), at % width];
    return sign(o, i) * random.uniform(0.8, 1);
  });
  const w = graph.addConstant('fc.weight', Tensor.float32([channels, width], weight));
  const bias = graph.addConstant(
    'fc.bias',
    Tensor.float32(
      [channels],
      Float32Array.from({ length: channels }, () => random.normal()),
    ),
  );
  const product = b.op('MatMul', [x, b.op('Transpose', [w], { perm: [1, 0] })]);
  graph.outputs.push(b.op('Add', [product, bias], {}, 'y'));
  return graph;
}

async function* data() {
  yield { pixels };
}

const quantizers = {
  dynamic: (graph: Graph, weights: 'safe' | 'torch') => quantizeDynamic(onnxruntime, graph, { weights }),
  static: (graph: Graph, weights: 'safe' | 'torch') =>
    quantizeStatic(onnxruntime, graph, { weights, observer: 'minmax', data: data() }),
};

/** What the layer gives in integer arithmetic. */
function expected(quantized: Graph): number[] {
  const { weight, weightScale, bias } = quantizedLayers(quantized)[0]!;
  const w = weight.tensor!.data as Int8Array;
  const results: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < channels; o++) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += 255 * pixels.floats[row * width + i]! * w[i * channels + o]!;
      results.push((sum / 255) * weightScale.tensor!.floats[o]! + bias!.tensor!.floats[o]!);
    }
  }
  return results;
}

const engines: Record<string, Engine> = { native: onnxruntime, WebAssembly: onnxruntimeWeb(ort) };

/** Largest difference from integer arithmetic, over the largest result. */
async function distance(engine: Engine, quantized: Graph, form: (typeof forms)[number]): Promise<number> {
  const exact = expected(quantized);
  const { y } = await runOnce(engine, toForm(quantized, form), { x: pixels });
  return (
    Math.max(...exact.map((value, i) => Math.abs(value - y!.floats[i]!))) / Math.max(...exact.map(Math.abs))
  );
}

/** Whether this processor's kernel adds two products of 255 * 127 without cutting them to 16 bits. */
async function addsExactly(engine: Engine): Promise<boolean> {
  const graph = new Graph('pair');
  const a = graph.addInput('a', 'uint8', [1, 4]);
  const w = graph.addConstant('w', new Tensor('int8', [4, 16], new Int8Array(64).fill(127)));
  graph.outputs.push(new Builder(graph).op('MatMulInteger', [a, w], {}, 'y'));
  const { y } = await runOnce(engine, graph, { a: new Tensor('uint8', [1, 4], new Uint8Array(4).fill(255)) });
  return y!.integers.every((sum) => sum === 4 * 255 * 127);
}

describe.each(['dynamic', 'static'] as const)('a %s int8 layer of the largest numbers', (scheme) => {
  describe.each(forms)('as %s', (form) => {
    it.each(Object.keys(engines))('is what integer arithmetic gives on the %s engine', async (name) => {
      const quantized = await quantizers[scheme](layer(), 'safe');
      expect(await distance(engines[name]!, quantized, form)).toBeLessThan(1e-5);
    });

    it.each(Object.keys(engines))('of PyTorch’s weights is so where the %s engine can', async (name) => {
      const engine = engines[name]!;
      const quantized = await quantizers[scheme](layer(), 'torch');
      const found = await distance(engine, quantized, form);
      if (await addsExactly(engine)) expect(found).toBeLessThan(1e-5);
      // Of the qdq form an engine may make a product of floats.
      else if (form !== 'qdq') expect(found).toBeGreaterThan(1e-2);
    });
  });
});
