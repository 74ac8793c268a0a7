import { describe, expect, it } from 'vitest';
import { checkGraph } from '../../../graph/check.ts';
import type { Graph } from '../../../graph/graph.ts';
import { parameters } from '../../../graph/parameters.ts';
import { Tensor } from '../../../graph/tensor.ts';
import { onnxruntime } from '../../../runtime/onnxruntime.node.ts';
import { runOnce } from '../../../runtime/session.ts';
import { initModel } from '../../model.ts';
import type { ModelArgs } from '../../model-args.ts';
import { modelInfo } from '../../model-info.ts';

const tiny = { img_size: 32, embed_dim: 24, depth: 2, num_heads: 3, num_classes: 5 };

const build = (modelArgs: ModelArgs, architecture = 'vit_tiny_patch16_224', seed = 0): Graph =>
  initModel({ architecture, modelArgs: { ...tiny, ...modelArgs } }, seed);

function image(graph: Graph, batch: number): Tensor {
  const shape = [batch, ...(graph.inputs[0]!.shape!.slice(1) as number[])];
  const size = shape.reduce((product, dim) => product * dim, 1);
  return Tensor.float32(
    shape,
    Float32Array.from({ length: size }, (_, i) => Math.sin(i * 0.37)),
  );
}

/** Arguments, and the shape of one image's output. */
const variants: [ModelArgs, number[]][] = [
  [{}, [5]],
  [{ num_classes: 0 }, [24]],
  [{ num_classes: 0, global_pool: '' }, [5, 24]],
  [{ class_token: false, global_pool: 'avg' }, [5]],
  [{ reg_tokens: 2, no_embed_class: true, global_pool: 'avgmax' }, [5]],
  [{ reg_tokens: 2, pool_include_prefix: true, global_pool: 'max', pos_embed: 'none' }, [5]],
  [{ class_token: false, global_pool: 'map', mlp_layer: 'SwiGLU' }, [5]],
  [{ global_pool: 'prr', in_chans: 1 }, [5]],
  [{ pre_norm: true, init_values: 0.1, act_layer: 'quick_gelu', norm_layer: 'rmsnorm' }, [5]],
  [{ qk_norm: true, scale_attn_norm: true, scale_mlp_norm: true, qkv_bias: false, proj_bias: false }, [5]],
  [{ mlp_layer: { partial: 'GluMlp', kwargs: { gate_last: false } }, act_layer: 'silu' }, [5]],
  [{ attn_layer: 'diff', qk_norm: true }, [5]],
  [{ block_fn: 'ResPostBlock', init_values: 0.5 }, [5]],
  [{ block_fn: 'ParallelScalingBlock', qkv_bias: false, qk_norm: true, init_values: 0 }, [5]],
  [{ block_fn: 'DiffParallelScalingBlock', qk_norm: true }, [5]],
  [{ block_fn: 'ParallelThingsBlock', init_values: 0.1 }, [5]],
  [{ img_size: [16, 48], patch_size: [8, 16], embed_norm_layer: 'LayerNorm' }, [5]],
];

describe('vision transformer', () => {
  it.each(variants)('%j: images of a batch do not see each other', async (args, shape) => {
    const graph = build(args);
    expect(checkGraph(graph)).toEqual([]);
    expect(graph.outputs[0]!.shape).toEqual(['N', ...shape]);
    const batch = image(graph, 2);
    const { logits } = await runOnce(onnxruntime, graph, { pixel_values: batch });
    expect(logits!.shape).toEqual([2, ...shape]);
    const second = Tensor.float32([1, ...batch.shape.slice(1)], batch.floats.slice(batch.size / 2));
    const alone = await runOnce(onnxruntime, graph, { pixel_values: second });
    const half = logits!.size / 2;
    for (let i = 0; i < half; i++) {
      expect(logits!.floats[half + i]).toBeCloseTo(alone.logits!.floats[i]!, 4);
    }
    expect(logits!.floats.some((value, i) => Math.abs(value - logits!.floats[0]!) > 1e-3 && i > 0)).toBe(
      true,
    );
  });

  it('means the two heads of a distilled model', async () => {
    const graph = build({}, 'deit_tiny_distilled_patch16_224');
    const names = parameters(graph).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['dist_token', 'head_dist.weight']));
    const feeds = { pixel_values: image(graph, 1) };
    const { logits: both } = await runOnce(onnxruntime, graph, feeds);
    const { graph: zero } = graph.clone();
    for (const name of ['head_dist.weight', 'head_dist.bias']) {
      const value = zero.constants.get(name)!;
      zero.setConstant(value, Tensor.zeros('float32', value.tensor!.shape));
    }
    const { graph: swapped } = graph.clone();
    for (const part of ['weight', 'bias']) {
      const value = swapped.constants.get(`head.${part}`)!;
      swapped.setConstant(value, Tensor.zeros('float32', value.tensor!.shape));
    }
    const { logits: first } = await runOnce(onnxruntime, zero, feeds);
    const { logits: second } = await runOnce(onnxruntime, swapped, feeds);
    both!.floats.forEach((value, i) => {
      expect(value).toBeCloseTo(first!.floats[i]! + second!.floats[i]!, 5);
    });
  });

  const refused: [ModelArgs, RegExp][] = [
    [{ embed_dims: 24 }, /unknown model argument "embed_dims"; did you mean embed_dim/],
    [{ embed_dim: 25 }, /embed_dim 25 is not divisible by num_heads 3/],
    [{ depth: 1.5 }, /depth is 1.5; it must be a whole number/],
    [{ qkv_bias: 'yes' }, /qkv_bias is "yes"; it must be true or false/],
    [{ class_token: false }, /global_pool "token" needs class_token/],
    [{ global_pool: 'mean' }, /global_pool is "mean"; it must be one of/],
    [{ img_size: 8 }, /smaller than one patch/],
    [{ act_layer: 'swoosh' }, /act_layer "swoosh" is not supported/],
    [{ norm_layer: 'batchnorm' }, /norm_layer "batchnorm" is not supported/],
    [{ mlp_layer: 'ConvMlp' }, /mlp_layer "ConvMlp" is not supported/],
    [{ attn_layer: 'diff', embed_dim: 27 }, /differential attention halves its heads/],
    [{ block_fn: 'ParallelScalingBlock', scale_mlp_norm: true }, /has no scale_attn_norm/],
    [{ block_fn: 'Blocks' }, /block_fn is "Blocks"/],
  ];
  it.each(refused)('refuses %j', (args, message) => {
    expect(() => build(args)).toThrow(message);
  });
});

describe('initModel', () => {
  const weights = (graph: Graph, name: string) => graph.constants.get(name)!.tensor!.floats;

  it('draws the same weights from the same seed, others from another', () => {
    const name = 'blocks.1.mlp.fc1.weight';
    const [a, b, c] = [0, 0, 1].map((seed) => weights(build({}, undefined, seed), name));
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
    expect(weights(build({}), 'blocks.0.mlp.fc1.weight')).not.toEqual(a);
  });

  it('starts as timm does', () => {
    const graph = build({ embed_dim: 96, init_values: 1e-5, patch_size: 8 });
    const deviation = (name: string) => {
      const data = weights(graph, name);
      return Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length);
    };
    expect(deviation('blocks.0.attn.qkv.weight')).toBeCloseTo(0.02, 3);
    expect(deviation('head.weight')).toBeCloseTo(0.02, 2);
    expect(deviation('pos_embed')).toBeCloseTo(0.02, 2);
    expect(deviation('cls_token')).toBeLessThan(1e-5);
    const bound = (3 * 8 * 8) ** -0.5;
    const patches = weights(graph, 'patch_embed.proj.weight');
    expect(Math.max(...patches)).toBeLessThanOrEqual(bound);
    expect(Math.max(...patches)).toBeGreaterThan(bound * 0.99);
    expect(deviation('patch_embed.proj.weight')).toBeCloseTo(bound / Math.sqrt(3), 3);
    expect(new Set(weights(graph, 'blocks.0.norm1.weight'))).toEqual(new Set([1]));
    expect(new Set(weights(graph, 'blocks.0.attn.qkv.bias'))).toEqual(new Set([0]));
    expect(new Set(weights(graph, 'blocks.0.ls1.gamma'))).toEqual(new Set([Math.fround(1e-5)]));
  });

  it('prepares images for the size and channels it was built with', () => {
    const { preprocessing, numClasses } = modelInfo(build({ in_chans: 1, img_size: [32, 48] }));
    expect(preprocessing.inputSize).toEqual([1, 32, 48]);
    expect(preprocessing.mean).toEqual([0.5]);
    expect(numClasses).toBe(5);
  });
});
