import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bytesPerImage } from '../autodiff/cuts.ts';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { setParameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import { readOnnx } from '../onnx/read.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { initModel } from '../zoo/model.ts';
import { trainingStep } from './step.ts';
import { Trainer, type TrainerOptions } from './trainer.ts';

const vit = (depth: number, size = 16) =>
  initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: size, patch_size: 4, in_chans: 1, embed_dim: 16, depth, num_heads: 2 },
    numClasses: 3,
  });

const swin = () =>
  initModel({
    architecture: 'swin_tiny_patch4_window7_224',
    modelArgs: { img_size: 32, window_size: 4, embed_dim: 8, depths: [2, 2, 2, 2], num_heads: [1, 1, 2, 2] },
    numClasses: 3,
  });

const levit = () => initModel({ architecture: 'levit_128s', modelArgs: { img_size: 64 }, numClasses: 3 });

/** Linear layers with a GELU behind each and no residuals: nothing has the name of a block. */
function chain(layers: number): Graph {
  const graph = new Graph('chain');
  const b = new Builder(graph);
  const names = Array.from({ length: layers }, (_, i) => `fc${i}.weight`);
  const weight = (i: number, rows: number) =>
    graph.addConstant(
      names[i]!,
      filled([rows, 12], (j) => Math.sin(j * 2.3 + i) / 3),
    );
  let x: Value = graph.addInput('pixel_values', 'float32', ['N', 12]);
  for (const i of names.keys()) {
    const rows = i === layers - 1 ? 3 : 12;
    x = b.op('MatMul', [x, b.op('Transpose', [weight(i, rows)], { perm: [1, 0] })]);
    if (i < layers - 1) x = b.op('com.microsoft.Gelu', [x]);
  }
  graph.outputs.push(x);
  setParameters(graph, names);
  return graph;
}

function filled(shape: readonly number[], value: (i: number) => number): Tensor {
  return Tensor.float32(
    shape,
    Float32Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, i) => value(i)),
  );
}

async function trained(model: Graph, options: TrainerOptions) {
  const [, ...image] = model.inputs[0]!.shape as number[];
  const trainer = await Trainer.create(onnxruntime, model, options);
  const losses: number[] = [];
  for (let step = 0; step < 4; step++) {
    const input = {
      pixels: filled([4, ...image], (i) => Math.sin(i * 1.7 + step)),
      targets: filled([4, 3], (i) => Number(i % 3 === Math.floor(i / 3) % 3)),
      random: new Random(step),
    };
    losses.push((await trainer.train(input, 0.01, 0.05)).loss);
  }
  const weights = trainer.parameters();
  await trainer.dispose();
  return { losses, weights };
}

/** The most bytes that are alive between two nodes, run in the graph's order, besides inputs and constants. */
function peakBytes(graph: Graph): number {
  const last = new Map<Value, number>();
  graph.nodes.forEach((node, i) => {
    for (const value of node.inputs) if (value?.producer) last.set(value, i);
  });
  let [live, peak] = [0, 0];
  graph.nodes.forEach((node, i) => {
    for (const value of node.outputs) if (value && last.has(value)) live += bytesPerImage(value);
    peak = Math.max(peak, live);
    for (const value of new Set([...node.inputs, ...node.outputs])) {
      if (value && last.get(value) === i) live -= bytesPerImage(value);
    }
  });
  return peak;
}

describe('recomputation', () => {
  const cases: [string, () => Graph, TrainerOptions][] = [
    ['a transformer', () => vit(4), { clipNorm: 1 }],
    ['one without clipping', () => vit(3), { optimizer: 'sgd' }],
    ['one whose branches are left out at times', () => vit(3), { dropPath: 0.5, emaDecay: 0.9 }],
    ['one that computes with int8 numbers', () => vit(3), { int8: { weights: 'safe' } }],
    ['accumulated gradients', () => vit(3), { accumulate: 2, clipNorm: 1 }],
    ['stages of shifted windows', swin, { clipNorm: 1 }],
    ['batch norms that learn', levit, { batchNorm: 'train', clipNorm: 1 }],
    ['a chain', () => chain(12), {}],
  ];
  it.each(cases)('gives the losses and weights of %s bit for bit', async (_, model, options) => {
    const start = model();
    const again = trainingStep(start, { ...options, recompute: true }).graph;
    expect(checkGraph(again)).toEqual([]);
    expect(again.nodes.length).toBeGreaterThan(trainingStep(start, options).graph.nodes.length);
    const [plain, recomputed] = [
      await trained(start, options),
      await trained(start, { ...options, recompute: true }),
    ];
    expect(new Set(plain.losses).size).toBe(4);
    expect(recomputed).toEqual(plain);
  });

  it('keeps a third of the bytes of a deep transformer alive, and the more layers the smaller a share', () => {
    const share = (depth: number) => {
      const model = vit(depth, 64);
      const [recomputed, kept] = [true, false].map((recompute) =>
        peakBytes(trainingStep(model, { recompute }).graph),
      );
      return recomputed! / kept!;
    };
    expect(share(12)).toBeLessThan(1 / 3);
    expect(share(24)).toBeLessThan(share(12));
  });

  it('is not undone by the engine: what it loads still computes every attention twice, of blocks before the last', async () => {
    const { graph } = trainingStep(vit(4), { recompute: true });
    const count = (of: Graph, op: string) => of.nodes.filter((node) => node.op === op).length;
    const softmaxes = count(graph, 'Softmax');
    expect(softmaxes).toBeGreaterThanOrEqual(4 + 2);
    const folder = mkdtempSync(join(tmpdir(), 'recompute-'));
    try {
      const file = join(folder, 'loaded.onnx');
      await (await onnxruntime.load(graph, { saveTo: file })).dispose();
      expect(count(readOnnx(readFileSync(file)), 'Softmax')).toBe(softmaxes);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
