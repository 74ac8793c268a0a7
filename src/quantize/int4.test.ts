import { beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { countMacs } from '../graph/cost.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { parameterCount } from '../zoo/describe.ts';
import { initModel } from '../zoo/model.ts';
import { blockLinears, packed, unpacked } from './block-linear.ts';
import { quantizeInt4 } from './int4.ts';
import { quantization } from './record.ts';

const [rows, inputs, outputs, blockSize] = [3, 40, 5, 16];
/** Numbers with a tail, some blocks negative at their largest, one of zeros. */
const weights = Float32Array.from({ length: outputs * inputs }, (_, i) =>
  i < blockSize ? 0 : Math.fround(Math.sin(i * 1.7) ** 3 * (i % 37 === 5 ? -4 : 1)),
);
const x = Tensor.float32(
  [rows, inputs],
  Float32Array.from({ length: rows * inputs }, (_, i) => Math.cos(i * 0.9)),
);
const bias = Float32Array.from({ length: outputs }, (_, i) => i - 2);

function linear(data = weights): Graph {
  const graph = new Graph();
  const b = new Builder(graph);
  const input = graph.addInput('x', 'float32', ['N', inputs]);
  const weight = graph.addConstant('fc.weight', Tensor.float32([outputs, inputs], data));
  const product = b.op('MatMul', [input, b.op('Transpose', [weight], { perm: [1, 0] })]);
  graph.outputs.push(b.op('Add', [product, graph.addConstant('fc.bias', Tensor.float32([outputs], bias))]));
  return graph;
}

/** The weight that packed bytes and scales stand for, as the operator's description has it. */
function restored(graph: Graph): number[][] {
  const [packed, scale] = ['fc.weight', 'fc.weight_scale'].map((name) => graph.constants.get(name)!.tensor!);
  const [, blocks, bytes] = packed!.shape;
  return Array.from({ length: outputs }, (_, o) =>
    Array.from({ length: inputs }, (_, i) => {
      const block = Math.floor(i / blockSize);
      const within = i % blockSize;
      const byte = packed!.data[(o * blocks! + block) * bytes! + (within >> 1)] as number;
      return (((within & 1 ? byte >> 4 : byte & 15) as number) - 8) * scale!.floats[o * blocks! + block]!;
    }),
  );
}

describe('a Linear in int4', () => {
  let graph: Graph;
  beforeAll(async () => {
    graph = await quantizeInt4(onnxruntime, linear(), { blockSize });
  });

  it('has the weights of least squared error among the scales that are tried, in every block', () => {
    const found = restored(graph);
    const [packed, scales] = [graph.constants.get('fc.weight')!, graph.constants.get('fc.weight_scale')!];
    expect([packed.dtype, packed.shape, scales.shape]).toEqual(['uint8', [5, 3, 8], [5, 3]]);
    for (let o = 0; o < outputs; o++) {
      for (let start = 0; start < inputs; start += blockSize) {
        const end = Math.min(inputs, start + blockSize);
        const exact = [...weights.slice(o * inputs + start, o * inputs + end)];
        const errorOf = (values: number[]) => values.reduce((sum, v, i) => sum + (v - exact[i]!) ** 2, 0);
        const largest = exact.reduce((a, v) => (Math.abs(v) > Math.abs(a) ? v : a), 0);
        const errors = Array.from({ length: 15 }, (_, i) => {
          const scale = ((1 - i / 40) * largest) / -8 || 1;
          return errorOf(exact.map((v) => Math.max(-8, Math.min(7, Math.round(v / scale))) * scale));
        });
        const given = errorOf(found[o]!.slice(start, end));
        expect(given).toBeLessThanOrEqual(Math.min(...errors) * (1 + 1e-5) + 1e-12);
      }
    }
  });

  it.each([
    ['float32', 1e-6],
    ['int8', 2e-2],
  ] as const)('multiplies %s activations with them', async (activations, tolerance) => {
    const made = await quantizeInt4(onnxruntime, linear(), { blockSize, activations });
    const result = Object.values(await runOnce(onnxruntime, made, { x }))[0]!;
    expect(result.shape).toEqual([rows, outputs]);
    const wanted = Array.from({ length: rows }, (_, r) =>
      restored(made).map((w, o) => w.reduce((sum, v, i) => sum + v * x.floats[r * inputs + i]!, bias[o]!)),
    ).flat();
    const off = Math.hypot(...wanted.map((v, i) => v - result.floats[i]!)) / Math.hypot(...wanted);
    expect(off).toBeLessThan(tolerance);
  });

  it('multiplies activations of four bits as integers would', async () => {
    const made = await quantizeInt4(onnxruntime, linear(), { blockSize, activations: 'int4' });
    const result = Object.values(await runOnce(onnxruntime, made, { x }))[0]!;
    const [layer] = blockLinears(made);
    const stored = unpacked(layer!);
    const scales = layer!.weightScale.tensor!.floats;
    const blocks = Math.ceil(inputs / blockSize);
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < outputs; o++) {
        let sum = bias[o]!;
        for (let block = 0; block < blocks; block++) {
          const range = [block * blockSize, Math.min(inputs, (block + 1) * blockSize)] as const;
          const exact = [...x.floats.slice(r * inputs + range[0], r * inputs + range[1])];
          const [least, largest] = [Math.min(...exact), Math.max(...exact)];
          const step = (largest - least) / 15;
          let [products, weightsAlone] = [0, 0];
          exact.forEach((value, i) => {
            const w = stored[(range[0] + i) * outputs + o]!;
            products += Math.round((value - least) / step) * w;
            weightsAlone += w;
          });
          sum += scales[o * blocks + block]! * (step * products + least * weightsAlone);
        }
        expect(result.floats[r * outputs + o]!).toBeCloseTo(sum, 5);
      }
    }
    expect(quantization(made)).toMatchObject({ activations: 'int4' });
  });

  it('packs and unpacks', () => {
    const [layer] = blockLinears(graph);
    expect(packed(unpacked(layer!), layer!).data).toEqual(layer!.weight.tensor!.data);
  });

  it('is told what it is', () => {
    expect(quantization(graph)).toMatchObject({
      dtype: 'int4',
      blockSize,
      activations: 'float32',
      ignored: [],
    });
    expect(countMacs(graph)).toBe(countMacs(linear()));
  });

  it('is refused where it has values that are no numbers', async () => {
    const broken = weights.slice();
    broken[7] = Number.NaN;
    await expect(quantizeInt4(onnxruntime, linear(broken))).rejects.toThrow(/fc\.weight has values that are/);
    await expect(quantizeInt4(onnxruntime, graph)).rejects.toThrow(UserError);
  });
});

it('keeps kernels in int8 beside linear layers in int4, and what is ignored in float32', async () => {
  const model = initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, patch_size: 8, embed_dim: 64, depth: 2, num_heads: 2, num_classes: 10 },
  });
  const made = await quantizeInt4(onnxruntime, model, { ignore: ['head.weight'] });
  const types = (name: string) => made.constants.get(name)!.dtype;
  expect(types('patch_embed.proj.weight')).toBe('int8');
  expect(types('blocks.1.mlp.fc2.weight')).toBe('uint8');
  expect(types('head.weight')).toBe('float32');
  expect(quantization(made)!.ignored).toEqual(['head.weight']);
  expect(parameterCount(made)).toBe(parameterCount(model));
});
