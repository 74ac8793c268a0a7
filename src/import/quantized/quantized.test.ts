import { readFileSync } from 'node:fs';
import * as ort from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { Random } from '../../common/random.ts';
import { lowerGraph as lowerToTflite, singleImage } from '../../export/tflite/lower-graph.ts';
import { lowerGraph as lowerToTorch } from '../../export/torchscript/lower-graph.ts';
import { checkGraph } from '../../graph/check.ts';
import { countMacs, uncountedNodes } from '../../graph/cost.ts';
import type { Graph } from '../../graph/graph.ts';
import { modelParameters } from '../../graph/learned.ts';
import { Tensor } from '../../graph/tensor.ts';
import { writeOnnx } from '../../onnx/write.ts';
import { optimizeForTorch } from '../../optimize/optimize-for-torch.ts';
import { forms, toForm } from '../../quantize/forms.ts';
import { onnxruntimeWeb } from '../../runtime/onnxruntime-web.ts';
import { runOnce } from '../../runtime/session.ts';
import { readModel } from '../../zoo/read-model.ts';
import { type ForeignQuantization, foreignQuantization } from './note.ts';

/** Its integer sums never overflow. */
const engine = onnxruntimeWeb(ort);

const bytesOf = (name: string) => readFileSync(new URL(`golden/${name}.onnx`, import.meta.url));
const read = (name: string) => readModel({ 'model.onnx': bytesOf(name) });

const random = new Random(4);
const images = Tensor.float32(
  [1, 3, 16, 16],
  Float32Array.from({ length: 3 * 256 }, () => random.normal()),
);

const scores = async (model: Uint8Array | Graph) =>
  (await runOnce(engine, model, { images }, { optimization: 'disabled' })).scores!.floats;

const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  norm(Array.from(a, (value, i) => value - b[i]!)) / norm(b);

const ways: Record<string, Partial<ForeignQuantization>> = {
  'dynamic-channel': { format: 'dynamic', weights: ['int8'], granularity: 'channel' },
  'dynamic-u8': { format: 'dynamic', weights: ['uint8'], granularity: 'matrix' },
  'dynamic-attention': { format: 'dynamic', weights: ['uint8'], activations: ['uint8'] },
  'qdq-channel': { format: 'QDQ', weights: ['int8'], granularity: 'channel' },
  'qdq-u8u8': { format: 'QDQ', weights: ['uint8'], granularity: 'matrix' },
  'qdq-16': { format: 'QDQ', weights: ['int8'], activations: ['uint16'] },
  'operator-channel': { format: 'QOperator', weights: ['int8'], granularity: 'channel' },
  'operator-u8u8': { format: 'QOperator', weights: ['uint8'], activations: ['uint8'] },
};

/** What each form is told by; a dynamic file has its fused products as they are. */
const productOf = { fused: /ToFloat$|DynamicQuantizeMatMul$/, integer: /MatMulInteger$/, qdq: /^MatMul$/ };

const sizes = (graph: Graph) =>
  new Map(modelParameters(graph).map(({ name, tensor }) => [name, tensor!.size] as const));
const total = (counts: ReadonlyMap<string, number>) =>
  [...counts.values()].reduce((sum, size) => sum + size, 0);

describe.each(['vit', 'convolutions'])('%s', (model) => {
  const float = read(`${model}.float`);

  it.each(Object.entries(ways))(
    '%s is read as what it is, with the counts of the float model',
    (way, expected) => {
      const graph = read(`${model}.${way}`);
      expect(checkGraph(graph)).toEqual([]);
      expect(foreignQuantization(graph)).toMatchObject({ ...expected, tool: "onnxruntime's quantizer" });
      expect(total(sizes(graph))).toBe(total(sizes(float)));
      expect(countMacs(graph)).toBe(countMacs(float));
      expect(uncountedNodes(graph)).toEqual([]);
    },
  );

  it.each(Object.keys(ways))('%s computes what the file does, as far as rounding allows', async (way) => {
    const bytes = bytesOf(`${model}.${way}`);
    const ours = await scores(writeOnnx(read(`${model}.${way}`)));
    const exact = await scores(writeOnnx(float));
    const theirs = await scores(bytes);
    // One rounding that falls to the other side moves what follows by a step.
    const step = way.startsWith('operator') ? 0.5 : 0.01;
    expect(distance(ours, theirs)).toBeLessThan(step * distance(theirs, exact) + 1e-5);
  });
});

describe.each(Object.keys(ways))('vit.%s, written anew', (way) => {
  const graph = read(`vit.${way}`);
  const wide = way === 'qdq-16';

  it.each(forms)('gives the same in the form %s', async (form) => {
    if (wide) {
      expect(() => toForm(graph, form)).toThrow(
        /no layer of the model multiplies 8-bit numbers, so it has no form/,
      );
      return;
    }
    const written = toForm(graph, form);
    expect(checkGraph(written)).toEqual([]);
    const before = await scores(writeOnnx(graph));
    const lost = distance(before, await scores(writeOnnx(read('vit.float'))));
    expect(distance(await scores(writeOnnx(written)), before)).toBeLessThan(0.3 * lost);
    const products = written.nodes.filter(({ op }) => productOf[form].test(op)).length;
    expect(products).toBeGreaterThanOrEqual(5);
  });

  it('has a place in the formats of LiteRT and PyTorch', async () => {
    const tflite = lowerToTflite(await optimizeForTorch(engine, singleImage(graph)));
    expect(tflite.operators.filter(({ builtin }) => builtin === 'FULLY_CONNECTED')).toHaveLength(5);
    const torch = await optimizeForTorch(engine, graph);
    if (wide) {
      expect(() => lowerToTorch(torch)).toThrow(/uint16 is no type of 8 bits/);
      return;
    }
    const products = lowerToTorch(torch).calls.filter(
      ({ operator }) => operator === 'quantized::linear_dynamic',
    );
    // That of the head is so small that folding it costs nothing.
    expect(products.length).toBeGreaterThanOrEqual(4);
  });
});

it('calls integer weights as their modules do', () => {
  const names = (name: string) => [...sizes(read(name)).keys()].sort();
  for (const way of Object.keys(ways)) expect(names(`vit.${way}`)).toEqual(names('vit.float'));
});
