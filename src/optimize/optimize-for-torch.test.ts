import { describe, expect, it } from 'vitest';
import { lowerGraph } from '../export/torchscript/lower-graph.ts';
import { checkGraph } from '../graph/check.ts';
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
import { optimizeForTorch } from './optimize-for-torch.ts';

const small = { img_size: 32, patch_size: 8, embed_dim: 48, depth: 2, num_heads: 4, num_classes: 10 };
const pixels = Tensor.float32(
  [2, 3, 32, 32],
  Float32Array.from({ length: 2 * 3 * 32 * 32 }, (_, i) => Math.sin(i * 0.37) * 2),
);
const scaled = () => buildVisionTransformer({ ...small, init_values: 0.3 }, randomParameters(2));
const models = {
  vit: () => buildVisionTransformer(small, randomParameters(1)),
  'layer scale': scaled,
  distilled: () => buildVisionTransformerDistilled(small, randomParameters(4)),
  'int8, layer scale': () => quantizeDynamic(onnxruntime, scaled()),
};

describe('optimizeForTorch', () => {
  it.each(Object.entries(models))('%s computes what it did, in fewer calls', async (name, build) => {
    const source = await build();
    const graph = await optimizeForTorch(onnxruntime, source);
    expect(checkGraph(graph)).toEqual([]);
    expect(parameters(graph).length).toBeGreaterThan(10);
    const run = async (model: typeof graph) =>
      (await runOnce(onnxruntime, model, { pixel_values: pixels })).logits!.floats;
    const [got, expected] = [await run(graph), await run(source)];
    const distance = Math.hypot(...got.map((v, i) => v - expected[i]!)) / Math.hypot(...expected);
    expect(distance).toBeLessThan(name.startsWith('int8') ? 2e-3 : 1e-5);
    const calls = (model: typeof graph) =>
      lowerGraph(model)
        .calls.map((call) => call.operator)
        .filter((operator) => operator !== 'aten::t');
    expect(calls(graph).length).toBeLessThan(calls(source).length);
    const meanOfTwoHeads = name === 'distilled' ? ['aten::mul.Scalar'] : [];
    const kernel = name.startsWith('int8') ? ['aten::mul.Tensor'] : [];
    const products = calls(graph).filter((operator) => operator.startsWith('aten::mul'));
    expect(products).toEqual([...meanOfTwoHeads, ...kernel]);
    expect(calls(graph)).not.toContain('aten::squeeze.dim');
    expect(calls(graph)).not.toContain('aten::t');
  });

  it('leaves rounding to 8 bits to PyTorch, even of constants', async () => {
    const args = { ...small, global_pool: 'map' as const, class_token: false };
    const source = await quantizeDynamic(onnxruntime, buildVisionTransformer(args, randomParameters(3)));
    const graph = await optimizeForTorch(onnxruntime, source);
    const layers = (model: typeof graph) => model.nodes.filter(({ op }) => /QuantizeMatMul$/.test(op)).length;
    expect(layers(graph)).toBe(layers(source));
    expect(graph.nodes.length).toBeLessThan(source.nodes.length);
  });
});
