import { describe, expect, it } from 'vitest';
import { silent } from '../common/progress.ts';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { countMacs } from '../graph/cost.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { buildNest } from '../zoo/families/nest/build.ts';
import {
  buildVisionTransformer,
  buildVisionTransformerDistilled,
} from '../zoo/families/vision-transformer/build.ts';
import type { ModelArgs } from '../zoo/model-args.ts';
import { applyPlan } from './apply.ts';
import type { PruningGroup } from './group.ts';
import { findGroups } from './groups.ts';
import { plannedMacs } from './mac-target.ts';
import { maskedGraph } from './masked.ts';
import { type Plan, planPruning } from './plan.ts';
import { prune, summarize } from './prune.ts';
import { Removal } from './removal.ts';

const small: ModelArgs = {
  img_size: 16,
  patch_size: 8,
  in_chans: 3,
  embed_dim: 24,
  depth: 2,
  num_heads: 3,
  num_classes: 5,
  mlp_ratio: 2,
};

/** Every parameter random, biases and norms too, so that no term vanishes by chance. */
const noise = (name: string, shape: readonly number[]) => {
  const random = new Random(...new TextEncoder().encode(name));
  const size = shape.reduce((p, d) => p * d, 1);
  return Tensor.float32(
    shape,
    Array.from({ length: size }, () => 0.25 * random.normal()),
  );
};

const variants: Record<string, ModelArgs> = {
  'two blocks': { depth: 2 },
  'RMS norms': { norm_layer: 'RmsNorm', qk_norm: true },
  'layer scale and qk norm': { init_values: 0.1, qk_norm: true },
  'register tokens': { reg_tokens: 2, no_embed_class: true },
  'average pool': { global_pool: 'avg', class_token: false, fc_norm: true },
  'attention pool': { global_pool: 'map', class_token: false },
  'pool by refined tokens': { global_pool: 'prr' },
  GLU: { mlp_layer: 'GluMlp' },
  SwiGLU: { mlp_layer: 'SwiGLU' },
  'packed SwiGLU': { mlp_layer: 'SwiGLUPacked' },
  'parallel scaling': { block_fn: 'ParallelScalingBlock' },
  'parallel scaling, qk norm, no bias': { block_fn: 'ParallelScalingBlock', qk_norm: true, qkv_bias: false },
  'parallel branches': { block_fn: 'ParallelThingsBlock' },
  'norms after': { block_fn: 'ResPostBlock' },
  'norms inside': { scale_attn_norm: true, scale_mlp_norm: true },
  'differential attention': { attn_layer: 'diff' },
  'parallel differential attention': { block_fn: 'DiffParallelScalingBlock', qk_norm: true },
};

const build = (args: ModelArgs = {}) => buildVisionTransformer({ ...small, ...args }, noise);

const randomScores = (groups: readonly PruningGroup[], seed: number) => {
  const random = new Random(seed);
  return groups.map(({ size }) => Float64Array.from({ length: size }, () => random.uniform()));
};

async function logitsOf(graph: Graph): Promise<Float32Array> {
  const random = new Random(3);
  const { shape } = graph.inputs[0]!;
  const dims = [2, ...(shape!.slice(1) as number[])];
  const pixels = Float32Array.from({ length: dims.reduce((p, d) => p * d) }, () => random.normal());
  const outputs = await runOnce(
    onnxruntime,
    graph,
    { pixel_values: Tensor.float32(dims, pixels) },
    { threads: 1 },
  );
  return outputs.logits!.floats;
}

function expectClose(actual: Float32Array, expected: Float32Array): void {
  const size = Math.max(...expected.map(Math.abs));
  expect(size).toBeGreaterThan(1e-3);
  expect(Math.max(...actual.map((x, i) => Math.abs(x - expected[i]!))) / size).toBeLessThan(1e-4);
}

const valuesOf = (graph: Graph) =>
  graph.nodes.flatMap((node) => node.outputs.filter((value) => value !== undefined));

/** The shapes of what a graph computes, as a plan says that they will be. */
function plannedShapes(graph: Graph, plan: Plan) {
  const removal = new Removal(plan);
  return valuesOf(graph).map((value) => `${value.name} ${removal.shape(value)}`);
}

/** The same of the graph that was made by the plan. */
function shapesOf(graph: Graph, pruned: Graph) {
  const shapes = new Map(valuesOf(pruned).map(({ name, shape }) => [name, shape]));
  return valuesOf(graph).map(({ name }) => `${name} ${shapes.get(name)}`);
}

async function expectExact(graph: Graph, headDims: 'tied' | 'free', only: string[], heads = 0.34) {
  const grouping = findGroups(graph, { headDims });
  const plan = planPruning(grouping.groups, randomScores(grouping.groups, 7), { ratio: 0.3, heads });
  const chosen = new Map([...plan].filter(([{ kind }]) => only.includes(kind)));
  expect(chosen.size).toBeGreaterThan(0);
  const pruned = applyPlan(graph, chosen).graph;
  expect(checkGraph(pruned)).toEqual([]);
  expect(plannedShapes(graph, chosen)).toEqual(shapesOf(graph, pruned));
  expect(plannedMacs(graph, chosen)).toBe(countMacs(pruned));
  expect(countMacs(pruned)).toBeLessThan(countMacs(graph));
  expectClose(await logitsOf(pruned), await logitsOf(maskedGraph(graph, chosen)));
}

describe('removing units computes what the model does with them masked', () => {
  for (const [name, args] of Object.entries(variants)) {
    it(`${name}: channels, tied and free head dimensions, heads`, async () => {
      const graph = build({ depth: 1, ...args });
      await expectExact(graph, 'tied', ['channels', 'headDims']);
      await expectExact(graph, 'free', ['channels', 'headDims']);
      await expectExact(graph, 'free', ['heads', 'channels']);
    });
  }

  it('distilled, the embedding left whole', async () => {
    const graph = buildVisionTransformerDistilled(small, noise);
    const grouping = findGroups(graph, { headDims: 'free' });
    const plan = planPruning(grouping.groups, randomScores(grouping.groups, 1), {
      ratio: 0.4,
      bottleneck: true,
    });
    const pruned = applyPlan(graph, plan).graph;
    expectClose(await logitsOf(pruned), await logitsOf(maskedGraph(graph, plan)));
  });

  it('heads joined within their dimensions, as NesT has them: all lose the same ones', async () => {
    const args = { img_size: 16, patch_size: 2, num_levels: 2, embed_dims: [12, 24], num_heads: [3, 3] };
    const options = { in_chans: 3, depths: [1, 1], mlp_ratio: 1, num_classes: 5 };
    const graph = buildNest({ ...args, ...options }, noise);
    await expectExact(graph, 'tied', ['channels', 'headDims']);
    await expectExact(graph, 'free', ['channels', 'headDims']);
    expect(findGroups(graph, { headDims: 'free' }).groups.some(({ kind }) => kind === 'headDims')).toBe(true);
  });

  it('heads and dimensions of the heads that stay, at once', async () => {
    const graph = build();
    await expectExact(graph, 'tied', ['channels', 'headDims', 'heads']);
    await expectExact(graph, 'free', ['channels', 'headDims', 'heads']);
  });
});

const groupsSummary = (graph: Graph) => summarize(findGroups(graph), new Map());

describe('groups', () => {
  const kinds = (args: ModelArgs) =>
    groupsSummary(build({ ...args, depth: 1 })).map(({ kind, name, units }) => `${kind} ${name} ${units}`);

  it('of a ViT: embedding, head dimensions, heads, hidden units; no classes', () => {
    expect(kinds({})).toEqual([
      'channels patch_embed.proj 24',
      'headDims blocks.0.attn.qkv 8',
      'heads blocks.0.attn.qkv 3',
      'channels blocks.0.mlp.fc1 48',
    ]);
  });

  it('a unit of a packed GLU spans both halves', () => {
    const graph = build({ mlp_layer: 'GluMlp', depth: 1 });
    const group = findGroups(graph).groups.find(({ name }) => name === 'blocks.0.mlp.fc1')!;
    const first = group.slices.find(({ parameter }) => parameter.name === 'blocks.0.mlp.fc1.weight')!;
    expect(group.size).toBe(24);
    expect(first.units[3]).toBe(first.units[27]);
  });

  it('hidden units and attention that share one projection are apart', () => {
    expect(kinds({ block_fn: 'ParallelScalingBlock' })).toEqual([
      'channels patch_embed.proj 24',
      'channels blocks.0.in_proj 48',
      'headDims blocks.0.in_proj 8',
      'heads blocks.0.in_proj 3',
    ]);
  });

  it('free heads choose apart, queries with keys; a norm shared by all heads ties theirs', () => {
    const scopes = (args: ModelArgs) =>
      findGroups(build({ ...args, depth: 1 }), { headDims: 'free' }).groups.find(
        (g) => g.kind === 'headDims',
      )!.scopeCount;
    expect(scopes({})).toBe(3 + 3);
    expect(scopes({ qk_norm: true })).toBe(1 + 3);
  });

  it('the embedding takes every parameter that has it as an axis', () => {
    const [embedding] = groupsSummary(build({ depth: 1, init_values: 0.1 }));
    expect(embedding!.parameters).toEqual(
      expect.arrayContaining([
        'cls_token',
        'pos_embed',
        'patch_embed.proj.weight',
        'patch_embed.proj.bias',
        'blocks.0.norm1.weight',
        'blocks.0.attn.qkv.weight',
        'blocks.0.attn.proj.bias',
        'blocks.0.ls1.gamma',
        'head.weight',
      ]),
    );
    expect(embedding!.parameters).not.toContain('head.bias');
  });
});

describe('prune', () => {
  const l1 = { importance: 'l1' as const };

  it('records what it kept, in the parameters it made', async () => {
    const graph = build();
    const { graph: pruned, kept, groups } = await prune(onnxruntime, graph, { ...l1, ratio: 0.25 });
    expect(groups.map(({ kept, units }) => kept / units).every((share) => share <= 1)).toBe(true);
    const name = 'blocks.1.mlp.fc1.weight';
    const dense = graph.constants.get(name)!.tensor!;
    const slim = pruned.constants.get(name)!.tensor!;
    const { 0: rows, 1: columns } = kept[name]!;
    expect(slim.shape).toEqual([36, 18]);
    expect([...slim.floats]).toEqual(rows!.flatMap((r) => columns!.map((c) => dense.floats[r * 24 + c]!)));
    expect(Object.keys(kept['blocks.1.attn.qkv.weight']!)).toEqual(['0', '1']);
    expect(kept['head.bias']).toBeUndefined();
  });

  it('leaves the given graph as it is', async () => {
    const graph = build();
    const before = [...graph.constants.values()].map(({ shape }) => `${shape}`).join(' ');
    await prune(onnxruntime, graph, { ...l1, ratio: 0.5 });
    expect([...graph.constants.values()].map(({ shape }) => `${shape}`).join(' ')).toBe(before);
    expect(checkGraph(graph)).toEqual([]);
  });

  it('finds the ratio for a number of MACs', async () => {
    const graph = build();
    const target = Math.round(countMacs(graph) * 0.6);
    const result = await prune(onnxruntime, graph, { ...l1, targetMacs: target / 1e9 });
    const macs = countMacs(result.graph);
    expect(macs).toBeLessThanOrEqual(target);
    expect(macs).toBeGreaterThan(target * 0.9);
    await expect(prune(onnxruntime, graph, { ...l1, targetMacs: 1e-8 })).rejects.toThrow(
      /targetMacs 1e-8 can't be reached: the least that these options leave is/,
    );
  });

  it('removes heads alone, and leaves widths as they are', async () => {
    const { groups, ratio } = await prune(onnxruntime, build(), { ...l1, heads: 0.5 });
    expect(ratio).toBe(0);
    for (const { kind, units, kept } of groups) {
      if (kind === 'heads') expect(kept).toBe(units - Math.ceil(units / 2));
      else expect(kept).toBe(units);
    }
    expect(groups.some(({ kind }) => kind === 'heads')).toBe(true);
  });

  it('needs one budget, and takes no two for the same thing', async () => {
    await expect(prune(onnxruntime, build(), l1)).rejects.toThrow(
      /give ratio, ratioFor, heads, branches, targetMacs/,
    );
    const both = { ...l1, ratio: 0.5, targetMacs: 1 };
    const rankings = { ...l1, ratio: 0.5, global: true, ranking: 'isomorphic' } as const;
    await expect(prune(onnxruntime, build(), rankings)).rejects.toThrow(/global and ranking say different/);
    await expect(prune(onnxruntime, build(), both)).rejects.toThrow(/give one of them/);
  });

  it('a ratio of random units is the same for the same seed and another for another', async () => {
    const keptOf = async (seed: number) =>
      (await prune(onnxruntime, build(), { importance: 'random', seed, ratio: 0.5 })).kept;
    expect(await keptOf(1)).toEqual(await keptOf(1));
    expect(await keptOf(1)).not.toEqual(await keptOf(2));
  });

  it('says what it lacks', async () => {
    const graph = build();
    await expect(prune(onnxruntime, graph, { importance: 'taylor', ratio: 0.5 })).rejects.toThrow(
      /needs images/,
    );
    await expect(prune(onnxruntime, graph, { ...l1, ratio: 1 })).rejects.toThrow(
      /between 0 and 1, both excluded/,
    );
    await expect(prune(onnxruntime, graph, { ...l1, ratio: 0.5, heads: 1 })).rejects.toThrow(
      /heads: it must be a number from 0, below 1, not 1/,
    );
  });
});

it('says which layers stay whole, and why', async () => {
  const notes: string[] = [];
  const progress = { ...silent, note: (text: string) => void notes.push(text) };
  const graph = new Graph('whole');
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 6]);
  const weight = (name: string, shape: [number, number]) =>
    graph.addConstant(
      name,
      Tensor.float32(
        shape,
        Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i)),
      ),
    );
  const hidden = b.op('Relu', [b.op('MatMul', [x, weight('first.weight', [6, 8])])]);
  const sorted = b.op('Hardmax', [b.op('MatMul', [hidden, weight('second.weight', [8, 4])])]);
  graph.outputs.push(b.op('MatMul', [sorted, weight('head.weight', [4, 3])]));
  const { kept } = await prune(onnxruntime, graph, { ratio: 0.5 }, undefined, progress);
  expect(Object.keys(kept).sort()).toEqual(['first.weight', 'second.weight']);
  expect(notes).toEqual([
    'left whole: second: Hardmax is over them',
    'left whole: head: the model returns what it makes',
  ]);
});
