import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { initModel } from '../zoo/model.ts';
import { applyPlan, type Kept } from './apply.ts';
import { checkPruned } from './check.ts';
import { findGroups } from './groups.ts';
import { planPruning } from './plan.ts';
import { prune } from './prune.ts';

/**
 * A trunk of two layers, two classifiers of what it makes, and features from its middle:
 * x -> first (12) -> relu: features -> second (10) -> relu -> logits (4), distilled (4).
 */
function headed(): Graph {
  const random = new Random(3);
  const graph = new Graph('headed');
  const b = new Builder(graph);
  const linear = (name: string, x: Value, inputs: number, outputs: number) => {
    const numbers = Float32Array.from({ length: inputs * outputs }, () => random.normal());
    const weight = graph.addConstant(`${name}.weight`, Tensor.float32([inputs, outputs], numbers));
    return b.op('MatMul', [x, weight], {}, name);
  };
  const x = graph.addInput('x', 'float32', ['N', 6]);
  const features = b.op('Relu', [linear('first', x, 6, 12)], {}, 'features');
  const hidden = b.op('Relu', [linear('second', features, 12, 10)]);
  const logits = linear('logits', hidden, 10, 4);
  const distilled = linear('distilled', hidden, 10, 4);
  graph.outputs.push(logits, distilled, features);
  return graph;
}

/** Each output by plain loops, in float64, of the channels of `second` that stayed. */
function byHand(graph: Graph, kept: readonly number[], x: Tensor): Record<string, number[]> {
  const product = (rows: number[][], name: string, inputs: readonly number[]) => {
    const weight = graph.constants.get(`${name}.weight`)!.tensor!;
    const width = weight.shape[1]!;
    return rows.map((row) =>
      Array.from({ length: width }, (_, column) =>
        inputs.reduce((sum, input, i) => sum + row[i]! * weight.floats[input * width + column]!, 0),
      ),
    );
  };
  const all = (length: number) => [...Array(length).keys()];
  const relu = (rows: number[][]) => rows.map((row) => row.map((value) => Math.max(0, value)));
  const images = all(x.shape[0]!).map((n) => [...x.floats.subarray(6 * n, 6 * n + 6)]);
  const features = relu(product(images, 'first', all(6)));
  const hidden = relu(product(features, 'second', all(12))).map((row) => kept.map((index) => row[index]!));
  return {
    features: features.flat(),
    logits: product(hidden, 'logits', kept).flat(),
    distilled: product(hidden, 'distilled', kept).flat(),
  };
}

const noise = (shape: number[], seed = 9): Tensor => {
  const random = new Random(seed);
  return Tensor.float32(
    shape,
    Float32Array.from({ length: shape.reduce((p, d) => p * d, 1) }, () => random.normal()),
  );
};

describe('a model with several outputs', () => {
  it('each is that of what stays', async () => {
    const graph = headed();
    const { graph: pruned, kept, check } = await prune(onnxruntime, graph, { ratio: 0.4 });
    expect(Object.keys(kept).sort()).toEqual(['distilled.weight', 'logits.weight', 'second.weight']);
    expect(kept['distilled.weight']).toEqual({ 0: kept['second.weight']![1] });
    expect(kept['logits.weight']).toEqual({ 0: kept['second.weight']![1] });
    expect(check).toMatchObject({ unchecked: [] });
    const x = noise([3, 6]);
    const found = await runOnce(onnxruntime, pruned, { x });
    const wanted = byHand(graph, kept['second.weight']![1]!, x);
    expect(Object.keys(found).sort()).toEqual(['distilled', 'features', 'logits']);
    for (const [name, numbers] of Object.entries(wanted)) {
      expect(found[name]!.floats.length).toBe(numbers.length);
      found[name]!.floats.forEach((value, i) => {
        expect(value).toBeCloseTo(numbers[i]!, 4);
      });
    }
  });

  it('channels that any of them returns are in no group', () => {
    const outputs = ['logits', 'distilled', 'features'];
    for (const order of [outputs, outputs.toReversed()]) {
      const graph = headed();
      const named = new Map(graph.outputs.map((value) => [value.name, value]));
      graph.outputs.splice(0, 3, ...order.map((name) => named.get(name)!));
      const { groups, leftWhole } = findGroups(graph);
      expect(groups.map(({ name }) => name)).toEqual(['second']);
      expect(leftWhole.map(({ name, side, at }) => `${name} ${side} ${at}`)).toEqual([
        'first inputs x',
        'first outputs features',
        'second inputs features',
        'logits outputs logits',
        'distilled outputs distilled',
      ]);
    }
    const without = headed();
    without.outputs.pop();
    expect(findGroups(without).groups.map(({ name }) => name)).toEqual(['first', 'second']);
  });

  it.each(['logits', 'distilled', 'features'])('a fault in %s alone is found, and named', async (name) => {
    const graph = headed();
    const { groups } = findGroups(graph);
    const plan = planPruning(groups, [Float64Array.from({ length: 10 }, (_, i) => (3 * i) % 10)], {
      ratio: 0.5,
    });
    const pruned = applyPlan(graph, plan).graph;
    expect(await checkPruned(onnxruntime, graph, plan, pruned)).toMatchObject({ unchecked: [] });
    const place = pruned.outputs.findIndex((value) => value.name === name);
    const b = new Builder(pruned);
    pruned.outputs[place] = b.op('Mul', [pruned.outputs[place]!, b.scalar(1.01)]);
    await expect(checkPruned(onnxruntime, graph, plan, pruned)).rejects.toThrow(`output ${name} is`);
  });

  it('a distilled DeiT with its features: both heads follow, the stream that is returned stays', async () => {
    const graph = initModel(
      {
        architecture: 'deit_tiny_distilled_patch16_224',
        modelArgs: { img_size: 32, embed_dim: 24, depth: 2, num_heads: 3, num_classes: 5 },
      },
      1,
    );
    const logits = graph.outputs[0]!;
    const tokens = graph.constants.get('norm.weight')!.uses[0]!.node.output();
    const alone = findGroups(graph).groups.map(({ name, kind }) => `${kind} ${name}`);
    expect(alone).toContain('channels patch_embed.proj');
    graph.outputs.push(tokens);
    const { groups, leftWhole } = findGroups(graph);
    expect(groups.map(({ name, kind }) => `${kind} ${name}`)).toEqual(
      alone.filter((one) => one !== 'channels patch_embed.proj'),
    );
    expect(
      leftWhole.find(({ name, side }) => name === 'blocks.1.mlp.fc2' && side === 'outputs'),
    ).toMatchObject({ kind: 'output', at: tokens.name });
    const { graph: pruned, kept, check } = await prune(onnxruntime, graph, { ratio: 0.5, heads: 0.3 });
    expect(check).toMatchObject({ unchecked: [] });
    const pixels = noise([2, 3, 32, 32]);
    const feeds = { [graph.inputs[0]!.name]: pixels };
    const found = await runOnce(onnxruntime, pruned, feeds);
    const wanted = await runOnce(onnxruntime, zeroed(graph, kept), feeds);
    for (const { name } of [logits, tokens]) {
      expect(found[name]!.shape).toEqual(wanted[name]!.shape);
      found[name]!.floats.forEach((value, i) => {
        expect(value).toBeCloseTo(wanted[name]!.floats[i]!, 4);
      });
    }
  });
});

/** The model with zeros at all indices that did not stay; no statistics are taken over those, as the stream stays. */
function zeroed(graph: Graph, kept: Kept): Graph {
  const { graph: copy } = graph.clone();
  for (const [name, axes] of Object.entries(kept)) {
    const value = copy.constants.get(name)!;
    const shape = value.staticShape;
    const numbers = value.tensor!.floats.slice();
    for (const [axis, indices] of Object.entries(axes)) {
      const inner = shape.slice(Number(axis) + 1).reduce((p, d) => p * d, 1);
      numbers.forEach((_, e) => {
        if (!indices.includes(Math.floor(e / inner) % shape[Number(axis)]!)) numbers[e] = 0;
      });
    }
    copy.setConstant(value, Tensor.float32(shape, numbers));
  }
  return copy;
}
