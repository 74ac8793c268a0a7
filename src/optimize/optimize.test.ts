import { describe, expect, it } from 'vitest';
import { checkGraph } from '../graph/check.ts';
import { countMacs } from '../graph/cost.ts';
import { parameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import { quantizeDynamic } from '../quantize/dynamic.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import {
  buildVisionTransformer,
  buildVisionTransformerDistilled,
} from '../zoo/families/vision-transformer/build.ts';
import { randomParameters } from '../zoo/parameter-source.ts';
import { optimizeForOrt } from './optimize.ts';

const small = { img_size: 32, patch_size: 8, embed_dim: 48, depth: 2, num_heads: 4, num_classes: 10 };
const pixels = Tensor.float32(
  [2, 3, 32, 32],
  Float32Array.from({ length: 2 * 3 * 32 * 32 }, (_, i) => Math.sin(i * 0.37) * 2),
);
const models = {
  vit: () => buildVisionTransformer(small, randomParameters(1)),
  'layer scale and qk norm': () =>
    buildVisionTransformer({ ...small, init_values: 0.3, qk_norm: true }, randomParameters(2)),
  'attention pooling, registers': () =>
    buildVisionTransformer(
      { ...small, global_pool: 'map', class_token: false, reg_tokens: 2 },
      randomParameters(3),
    ),
  distilled: () => buildVisionTransformerDistilled(small, randomParameters(4)),
};
const feeds = { pixel_values: pixels };

function expectClose(got: Float32Array, expected: Float32Array) {
  const largest = Math.max(...expected.map(Math.abs));
  const worst = Math.max(...got.map((value, i) => Math.abs(value - expected[i]!)));
  expect(worst).toBeLessThan(1e-5 * largest);
}

describe('optimizeForOrt', () => {
  it.each(Object.entries(models))('%s computes what it did', async (_name, build) => {
    const source = build();
    const graph = await optimizeForOrt(onnxruntime, source);
    expect(checkGraph(graph)).toEqual([]);
    const expected = (await runOnce(onnxruntime, source, feeds)).logits!.floats;
    expectClose((await runOnce(onnxruntime, graph, feeds)).logits!.floats, expected);
    expect(graph.nodes.length).toBeLessThan(source.nodes.length * 0.8);
    const kept = countMacs(graph) / countMacs(source);
    expect(kept).toBeGreaterThan(0.99);
    expect(kept).toBeLessThanOrEqual(1);
    expect(graph.constants.get('blocks.0.attn.qkv.weight')!.shape).toEqual([48, 144]);
    expect(parameters(graph).length).toBeGreaterThan(10);
  });

  it('of an int8 model computes what it did', async () => {
    const source = await quantizeDynamic(onnxruntime, models['layer scale and qk norm']());
    const graph = await optimizeForOrt(onnxruntime, source);
    expect(checkGraph(graph)).toEqual([]);
    const expected = (await runOnce(onnxruntime, source, feeds)).logits!.floats;
    const got = (await runOnce(onnxruntime, graph, feeds)).logits!.floats;
    const distance = Math.hypot(...got.map((v, i) => v - expected[i]!)) / Math.hypot(...expected);
    expect(distance).toBeLessThan(2e-3);
    expect(graph.nodes.filter((node) => node.op.endsWith('DynamicQuantizeMatMul'))).toHaveLength(9);
    // That of the patch embedding's kernel, which is int8.
    expect(graph.nodes.filter((node) => node.op === 'Mul')).toMatchObject([
      { inputs: [{}, { dtype: 'float32' }] },
    ]);
    expect(graph.constants.get('patch_embed.proj.weight')!.dtype).toBe('int8');
  });
});
