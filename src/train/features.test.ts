import { expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { setParameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Kept } from '../prune/apply.ts';
import { keptChannels } from '../prune/kept-channels.ts';
import { prune } from '../prune/prune.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { initModel } from '../zoo/model.ts';
import { blockOutputs, withFeatures } from './features.ts';
import { Teacher } from './teacher.ts';
import { Trainer } from './trainer.ts';

type Matrix = number[][];
const matrix = (rows: number, columns: number, value: (i: number) => number): Matrix =>
  Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => value(r * columns + c)));
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, c) => row.reduce((sum, x, k) => sum + x * b[k]![c]!, 0)));
const sum = (a: Matrix, b: Matrix): Matrix => a.map((row, r) => row.map((x, c) => x + b[r]![c]!));
const columns = (a: Matrix, kept: readonly number[]): Matrix => a.map((row) => kept.map((c) => row[c]!));
const rows = (a: Matrix, kept: readonly number[]): Matrix => kept.map((r) => a[r]!);
const tensor = (a: Matrix) => Tensor.float32([a.length, a[0]!.length], a.flat());
const square = (a: Matrix) => a.flat().reduce((total, x) => total + x * x, 0);
const minus = (a: Matrix, b: Matrix): Matrix => a.map((row, r) => row.map((x, c) => x - b[r]![c]!));

interface Weights {
  embed: Matrix;
  blocks: readonly { in: Matrix; out: Matrix }[];
  head: Matrix;
}

/** `x E`, twice `s + (s A) B`, and the head. */
function network({ embed, blocks, head }: Weights): Graph {
  const graph = new Graph('network');
  const b = new Builder(graph);
  const x = graph.addInput('pixel_values', 'float32', ['N', embed.length]);
  const names: string[] = [];
  const linear = (value: typeof x, name: string, weight: Matrix) => {
    names.push(name);
    return b.op('MatMul', [value, graph.addConstant(name, tensor(weight))]);
  };
  let stream = linear(x, 'embed.weight', embed);
  blocks.forEach((block, i) => {
    const hidden = linear(stream, `blocks.${i}.in.weight`, block.in);
    stream = b.op('Add', [stream, linear(hidden, `blocks.${i}.out.weight`, block.out)]);
  });
  graph.outputs.push(linear(stream, 'head.weight', head));
  setParameters(graph, names);
  return graph;
}

/** What blocks hand on and the logits, in float64. */
function computed({ embed, blocks, head }: Weights, x: Matrix): { features: Matrix[]; logits: Matrix } {
  let stream = product(x, embed);
  const features = blocks.map((block) => {
    stream = sum(stream, product(product(stream, block.in), block.out));
    return stream;
  });
  return { features, logits: product(stream, head) };
}

const dense: Weights = {
  embed: matrix(3, 4, (i) => Math.sin(i + 1)),
  blocks: [0, 1].map((n) => ({
    in: matrix(4, 5, (i) => Math.cos(2 * i + n)),
    out: matrix(5, 4, (i) => Math.sin(3 * i + n)),
  })),
  head: matrix(4, 2, (i) => Math.cos(i)),
};
const channels = [0, 2, 3];
const kept: Kept = { 'embed.weight': { 1: channels } };
const pruned: Weights = {
  embed: columns(dense.embed, channels),
  blocks: dense.blocks.map((block) => ({
    in: rows(block.in, channels).map((row) => row.map((w, i) => w + 0.1 * i)),
    out: columns(block.out, channels),
  })),
  head: rows(dense.head, channels),
};
const x = matrix(6, 3, (i) => Math.sin(1.7 * i));
const labels = matrix(6, 2, (i) => Number(i % 2 === Math.floor(i / 2) % 2));

it('learns what the blocks of the teacher hand on, of the channels that are left: the loss is that of float64', async () => {
  const [teacher, pupil] = [network(dense), network(pruned)];
  const ours = computed(pruned, x);
  const theirs = computed(dense, x);
  const distances = ours.features.map((feature, i) => {
    const wanted = columns(theirs.features[i]!, channels);
    return square(minus(feature, wanted)) / square(wanted);
  });
  const distance = (distances[0]! + distances[1]!) / 2;
  const crossEntropy =
    ours.logits
      .map((row, i) => {
        const total = Math.log(row.reduce((all, logit) => all + Math.exp(logit), 0));
        return row.reduce((loss, logit, k) => loss - labels[i]![k]! * (logit - total), 0);
      })
      .reduce((a, b) => a + b) / 6;
  const options = { task: undefined, kind: 'feature', kept, threads: 1 } as const;
  const teaching = await Teacher.load(onnxruntime, teacher, pupil, options);
  const pixels = tensor(x);
  const input = { pixels, targets: tensor(labels), teacher: await teaching.teach(pixels, undefined) };
  const trainer = await Trainer.create(onnxruntime, pupil, {
    distillation: { kind: 'feature', weight: 0.3 },
  });
  const { loss, correct } = await trainer.train(input, 0.01, 0);
  expect(distance).toBeGreaterThan(0.01);
  expect(loss).toBeCloseTo(0.7 * crossEntropy + 0.3 * distance, 5);
  expect(correct).toBe(ours.logits.filter((row, i) => row[0]! > row[1]! === labels[i]![0]! > 0).length);
  await trainer.dispose();

  const alone = await Teacher.load(onnxruntime, teacher, pupil, { ...options, task: 'distill' });
  const both = await Trainer.create(onnxruntime, pupil, {
    task: 'distill',
    distillation: { kind: 'feature', weight: 1 },
  });
  const all = await both.train({ pixels, teacher: await alone.teach(pixels, undefined) }, 0.01, 0);
  const outer = square(minus(ours.logits, theirs.logits)) / square(theirs.logits);
  expect(all.loss).toBeCloseTo((outer + distances[0]! + distances[1]!) / 3, 5);
  await Promise.all([both.dispose(), alone.dispose(), teaching.dispose()]);
});

it('refuses a teacher of other channels or other blocks, and a model without blocks', () => {
  const [teacher, pupil] = [network(dense), network(pruned)];
  expect(() => withFeatures(teacher, pupil, undefined)).toThrow(
    /blocks hand on 4 numbers an image, the model's 3: .* pruned from, and what pruning kept/,
  );
  expect(() => withFeatures(teacher, pupil, { 'embed.weight': { 1: [0, 1] } })).toThrow(/hand on 2 .* 3/);
  const shorter = network({ ...dense, blocks: dense.blocks.slice(1) });
  expect(() => withFeatures(shorter, pupil, kept)).toThrow(/teacher has 1 blocks, the model 2/);
  expect(() => withFeatures(teacher, network({ ...dense, blocks: [] }), kept)).toThrow(
    /no residual branches/,
  );
});

it('finds the channels of what a ViT computes that pruning has kept', async () => {
  const model = initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 8, patch_size: 4, in_chans: 1, embed_dim: 12, depth: 2, num_heads: 3 },
    numClasses: 3,
  });
  const result = await prune(onnxruntime, model, { ratio: 0.3, heads: 0.34 });
  const left = keptChannels(model, result.kept);
  const outputs = blockOutputs(model);
  expect(outputs.map(({ name }) => name)).toEqual(['blocks.0.residual2', 'blocks.1.residual2']);
  for (const output of outputs) {
    expect(left(output)).toEqual(new Map([[2, result.kept['norm.weight']![0]]]));
  }
  const { graph, features } = withFeatures(model, result.graph, result.kept);
  const pixels = Tensor.float32(
    [1, 1, 8, 8],
    Array.from({ length: 64 }, (_, i) => Math.sin(i)),
  );
  const given = await runOnce(onnxruntime, graph, { pixel_values: pixels });
  expect(features.map((name) => given[name]!.shape)).toEqual(
    blockOutputs(result.graph).map(({ shape }) => [1, ...shape!.slice(1)]),
  );
});
