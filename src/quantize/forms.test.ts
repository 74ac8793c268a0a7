import * as ort from 'onnxruntime-web';
import { beforeAll, describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { onnxruntimeWeb } from '../runtime/onnxruntime-web.ts';
import { type Engine, runOnce } from '../runtime/session.ts';
import { initModel } from '../zoo/model.ts';
import { quantizeDynamic } from './dynamic.ts';
import { toFloat16 } from './float16.ts';
import { type Form, forms, toForm } from './forms.ts';
import { quantizeStatic } from './static.ts';

const images = (count: number, seed: number) =>
  Tensor.float32(
    [count, 3, 32, 32],
    Float32Array.from(
      { length: count * 3072 },
      (_, i) => 2 * ((Math.sin((i + 1) * 12.9898 * seed) * 43758.5453) % 1),
    ),
  );

const feeds = { pixel_values: images(2, 3) };
const distance = (a: Float32Array, b: Float32Array) =>
  Math.hypot(...a.map((v, i) => v - b[i]!)) / Math.hypot(...b);
const logits = async (engine: Engine, graph: Graph) =>
  (await runOnce(engine, graph, feeds, { threads: 1 })).logits!.floats;

const engines = [onnxruntime, onnxruntimeWeb(ort)];
const schemes = ['dynamic', 'static'] as const;
const source = initModel({
  architecture: 'deit_tiny_patch16_224',
  modelArgs: { img_size: 32, patch_size: 8, depth: 2, embed_dim: 64, num_heads: 2 },
  numClasses: 10,
});
const quantized = {} as Record<(typeof schemes)[number], Graph>;
let exact: Float32Array;

beforeAll(async () => {
  async function* data() {
    for (const seed of [1, 2]) yield { pixels: images(4, seed) };
  }
  quantized.dynamic = await quantizeDynamic(onnxruntime, source);
  quantized.static = await quantizeStatic(onnxruntime, source, { data: data() });
  exact = await logits(onnxruntime, source);
});

/** The ops that a Linear becomes, besides the bias. */
const expected: Record<(typeof schemes)[number], Record<Form, string[]>> = {
  dynamic: {
    fused: ['com.microsoft.DynamicQuantizeMatMul'],
    integer: ['DynamicQuantizeLinear', 'MatMulInteger'],
    qdq: ['DynamicQuantizeLinear', 'DequantizeLinear'],
  },
  static: {
    fused: ['QuantizeLinear', 'com.microsoft.MatMulIntegerToFloat'],
    integer: ['QuantizeLinear', 'MatMulInteger'],
    qdq: ['QuantizeLinear', 'DequantizeLinear'],
  },
};

describe.each(schemes)('%s int8', (scheme) => {
  it.each(forms)('as %s is close to float32 on ONNX Runtime, native and WebAssembly', async (form) => {
    const before = quantized[scheme].nodes.length;
    const graph = toForm(quantized[scheme], form);
    expect(quantized[scheme].nodes.length).toBe(before);
    expect(checkGraph(graph)).toEqual([]);
    const integerOps = graph.nodes.map(({ op }) => op).filter((op) => /Quantize|Dequantize|Integer/.test(op));
    expect(new Set(integerOps)).toEqual(new Set(expected[scheme][form]));
    if (form !== 'fused') expect(graph.nodes.every(({ domain }) => domain === '')).toBe(true);
    const canonical = await logits(onnxruntime, quantized[scheme]);
    for (const engine of engines) {
      const found = await logits(engine, graph);
      expect(distance(found, exact)).toBeLessThan(0.03);
      expect(distance(found, canonical)).toBeLessThan(0.015);
    }
  });
});

describe.each(forms)('dynamic int8 with the numbers of PyTorch on x86, as %s', (form) => {
  const levelsOf = async (weights: 'torch' | 'safe', values: number[]) => {
    const small = new Graph('linear');
    const x = small.addInput('x', 'float32', [1, values.length]);
    const b = new Builder(small);
    const weight = Tensor.float32(
      [1, values.length],
      Float32Array.from(values, () => 1),
    );
    const w = b.op('Transpose', [small.addConstant('w', weight)], { perm: [1, 0] });
    small.outputs.push(b.op('MatMul', [x, w], {}, 'y'));
    const graph = toForm(await quantizeDynamic(onnxruntime, small, { backend: 'x86', weights }), form);
    const quantize = graph.nodes.find(({ op }) => /^(Dynamic)?QuantizeLinear$/.test(op))!;
    graph.outputs.splice(0, Infinity, quantize.outputs[0]!);
    graph.removeDead();
    const feed = { x: Tensor.float32([1, values.length], Float32Array.from(values)) };
    const [found] = Object.values(await runOnce(onnxruntime, graph, feed));
    return [...(found!.data as Uint8Array)];
  };

  it('uses 7 bits, zero exact, also for values of one sign and for zeros', async () => {
    expect(await levelsOf('torch', [-1, 0, 1.54])).toEqual([0, 50, 127]);
    if (form !== 'fused') expect(await levelsOf('safe', [-1, 0, 1.55])).toEqual([0, 100, 255]);
    expect(await levelsOf('torch', [1, 4])).toEqual([32, 127]);
    expect(await levelsOf('torch', [0, 0])).toEqual([0, 0]);
  });

  it('is close to float32', async () => {
    const graph = toForm(
      await quantizeDynamic(onnxruntime, source, { backend: 'fbgemm', weights: 'torch' }),
      form,
    );
    expect(checkGraph(graph)).toEqual([]);
    for (const engine of engines) expect(distance(await logits(engine, graph), exact)).toBeLessThan(0.04);
  });
});

describe('float models', () => {
  it('compute the same on both engines in float32 and in float16', async () => {
    const half = await toFloat16(onnxruntime, source);
    for (const graph of [source, half]) {
      const [native, wasm] = await Promise.all(engines.map((engine) => logits(engine, graph)));
      expect(distance(wasm!, native!)).toBeLessThan(1e-3);
    }
  });

  it('have no int8 form', () => {
    expect(() => toForm(source, 'qdq')).toThrow(/no int8 layers/);
  });
});
