import { describe, expect, it } from 'vitest';
import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { setBuffers, setParameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { batchNormTraining } from './batch-norm.ts';
import { trainingStep } from './step.ts';
import { Trainer, type TrainerOptions } from './trainer.ts';

const channels = 2;
const places = 3;
const classes = 3;
const epsilon = 1e-3;

const filled = (shape: number[], value: (i: number) => number) =>
  Tensor.float32(
    shape,
    Float32Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, i) => value(i)),
  );

interface Made {
  /** Batch norms of the images that have the same statistics; their outputs are added up. */
  norms?: number;
  mean?: number[];
  variance?: number[];
}

/** Images of two channels and three places, normalized, squared, averaged, classified. */
function normed({ norms = 1, mean = [0.5, -1], variance = [2, 0.25] }: Made = {}): Graph {
  const graph = new Graph('normed');
  const b = new Builder(graph);
  const x = graph.addInput('pixel_values', 'float32', ['N', channels, 1, places]);
  const constant = (name: string, values: number[]) =>
    graph.addConstant(name, Tensor.float32([channels], values));
  const statistics = [constant('bn.running_mean', mean), constant('bn.running_var', variance)];
  const outputs = Array.from({ length: norms }, (_, i) => {
    const operands = [
      x,
      constant(`bn${i}.weight`, [1.5, 0.7]),
      constant(`bn${i}.bias`, [0.1, -0.2]),
      ...statistics,
    ];
    return b.op('BatchNormalization', operands, { epsilon: float(epsilon) });
  });
  const sum = outputs.reduce((a, c) => b.op('Add', [a, c]));
  const mixed = b.op('ReduceMean', [b.op('Mul', [sum, sum]), b.ints([2, 3])], { keepdims: 0 });
  const head = graph.addConstant(
    'head.weight',
    filled([classes, channels], (i) => Math.cos(i)),
  );
  graph.outputs.push(b.op('MatMul', [mixed, b.op('Transpose', [head], { perm: [1, 0] })]));
  const own = Array.from({ length: norms }, (_, i) => [`bn${i}.weight`, `bn${i}.bias`]).flat();
  setParameters(graph, [...own, 'head.weight']);
  setBuffers(graph, ['bn.running_mean', 'bn.running_var']);
  return graph;
}

const batch = (seed: number, images = 4) => ({
  pixels: filled([images, channels, 1, places], (i) => 3 + Math.sin(i * 1.7 + seed) * (1 + (i % 2))),
  targets: filled([images, classes], (i) => Number(i % classes === Math.floor(i / classes) % classes)),
});

/** Mean and variance of each channel, in float64. */
function statisticsOf({ shape, floats }: Tensor) {
  const count = shape[0]! * places;
  const at = (c: number) => [...floats].filter((_, i) => Math.floor(i / places) % channels === c);
  return [0, 1].map((c) => {
    const mean = at(c).reduce((sum, v) => sum + v, 0) / count;
    const squares = at(c).reduce((sum, v) => sum + (v - mean) ** 2, 0);
    return { mean, biased: squares / count, unbiased: squares / (count - 1) };
  });
}

const close = (actual: Tensor | undefined, expected: readonly number[]) => {
  expect([...actual!.floats].length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(actual!.floats[i]).toBeCloseTo(value, 5);
  });
};

/** The running statistics after each batch, in float64. */
function* running(inputs: readonly { pixels: Tensor }[], mean = [0.5, -1], variance = [2, 0.25]) {
  let now = { mean, variance };
  for (const { pixels } of inputs) {
    const found = statisticsOf(pixels);
    now = {
      mean: now.mean.map((v, c) => 0.9 * v + 0.1 * found[c]!.mean),
      variance: now.variance.map((v, c) => 0.9 * v + 0.1 * found[c]!.unbiased),
    };
    yield now;
  }
}

const create = (model: Graph, over: TrainerOptions) =>
  Trainer.create(onnxruntime, model, { optimizer: 'sgd', batchNorm: 'train', threads: 1, ...over });

describe('batch norms in training', () => {
  it('normalize by the batch, whose statistics they learn: variance biased there, unbiased here', async () => {
    const model = normed();
    expect(checkGraph(trainingStep(model, { batchNorm: 'train' }).graph)).toEqual([]);
    const inputs = [0, 1, 2].map((seed) => batch(seed));
    const expected = [...running(inputs)];
    const trainer = await create(model, {});
    for (const [step, input] of inputs.entries()) {
      const found = statisticsOf(input.pixels);
      const weights = trainer.parameters();
      const logits = Array.from({ length: 4 }, (_, n) => {
        const features = [0, 1].map((c) => {
          const { mean, biased } = found[c]!;
          const [w, shift] = [weights['bn0.weight']!.floats[c]!, weights['bn0.bias']!.floats[c]!];
          const values = [0, 1, 2].map((p) => input.pixels.floats[(n * channels + c) * places + p]!);
          const hats = values.map((v) => ((v - mean) / Math.sqrt(biased + epsilon)) * w + shift);
          return hats.reduce((sum, h) => sum + h * h, 0) / places;
        });
        const head = weights['head.weight']!.floats;
        return [0, 1, 2].map((k) => head[2 * k]! * features[0]! + head[2 * k + 1]! * features[1]!);
      });
      const losses = logits.map((row, n) => {
        const total = row.reduce((sum, v) => sum + Math.exp(v), 0);
        return Math.log(total) - row[n % classes]!;
      });
      const { loss } = await trainer.train(input, 0.1, 0);
      expect(loss).toBeCloseTo(losses.reduce((a, c) => a + c) / 4, 5);
      const learned = trainer.parameters();
      close(learned['bn.running_mean'], expected[step]!.mean);
      close(learned['bn.running_var'], expected[step]!.variance);
    }
    await trainer.dispose();
    expect([...model.constants.get('bn.running_mean')!.tensor!.floats]).toEqual([0.5, -1]);
  });

  it('learn from each of accumulated batches, and their running mean moves with the updates', async () => {
    const inputs = [0, 1, 2, 3].map((seed) => batch(seed));
    const expected = [...running(inputs)];
    const trainer = await create(normed(), { accumulate: 2, emaDecay: 0.75 });
    let mean = [0.5, -1];
    for (const [i, input] of inputs.entries()) {
      await trainer.train(input, 0.1, 0);
      const { tensors } = trainer.state;
      close(tensors['bn.running_mean'], expected[i]!.mean);
      close(tensors['bn.running_var'], expected[i]!.variance);
      if (i % 2 === 1) mean = mean.map((v, c) => 0.75 * v + 0.25 * expected[i]!.mean[c]!);
      close(trainer.parameters()['bn.running_mean'], mean);
    }
    expect(trainer.step).toBe(2);
    await trainer.dispose();
  });

  it('that share statistics each change them', async () => {
    const trainer = await create(normed({ norms: 2 }), {});
    const twice = [batch(5), batch(5)];
    await trainer.train(twice[0]!, 0.1, 0);
    const expected = [...running(twice)][1]!;
    close(trainer.parameters()['bn.running_mean'], expected.mean);
    close(trainer.parameters()['bn.running_var'], expected.variance);
    await trainer.dispose();
  });

  it('go on from a state to the same numbers, bit for bit', async () => {
    const inputs = [0, 1, 2].map((seed) => batch(seed));
    const options = { emaDecay: 0.5, optimizer: 'adamw' } as const;
    const whole = await create(normed(), options);
    for (const input of inputs) await whole.train(input, 0.01, 0);
    const first = await create(normed(), options);
    await first.train(inputs[0]!, 0.01, 0);
    const second = await Trainer.create(
      onnxruntime,
      normed(),
      { ...options, batchNorm: 'train', threads: 1 },
      first.state,
    );
    for (const input of inputs.slice(1)) await second.train(input, 0.01, 0);
    expect(second.state).toEqual(whole.state);
    const { 'bn.running_var': _, ...lacking } = first.state.tensors;
    await expect(
      Trainer.create(onnxruntime, normed(), { batchNorm: 'train' }, { tensors: lacking, step: 1 }),
    ).rejects.toThrow(/lacks bn.running_var/);
    for (const trainer of [whole, first, second]) await trainer.dispose();
  });

  it('stay as they are when frozen', async () => {
    const trainer = await create(normed(), { batchNorm: 'frozen' });
    await trainer.train(batch(1), 0.1, 0);
    expect(Object.keys(trainer.parameters())).toEqual(['bn0.weight', 'bn0.bias', 'head.weight']);
    await trainer.dispose();
  });
});

describe('how batch norms are trained', () => {
  const fresh = () => normed({ mean: [0, 0], variance: [1, 1] });

  it('is as wanted, or by the size of the batch, and by whether anything was learned yet', () => {
    const mode = (...given: Parameters<typeof batchNormTraining>) => batchNormTraining(...given)?.mode;
    expect(mode(normed(), undefined, 16)).toBe('train');
    expect(mode(normed(), undefined, 15)).toBe('frozen');
    expect(mode(fresh(), undefined, 2)).toBe('train');
    expect(mode(normed(), 'train', 2)).toBe('train');
    expect(mode(fresh(), 'frozen', 64)).toBe('frozen');
    expect(batchNormTraining(normed(), undefined, 8)!.note).toMatch(/8 images a batch are few/);
    expect(batchNormTraining(normed({ norms: 2 }), undefined, 16)!.note).toMatch(/train: 2 batch norms/);
    const none = new Graph();
    none.outputs.push(none.addInput('x', 'float32', ['N', 2]));
    expect(batchNormTraining(none, undefined, 16)).toBeUndefined();
  });

  it('leaves statistics alone that are read as something else too', () => {
    const model = normed();
    const mean = model.constants.get('bn.running_mean')!;
    model.outputs.push(new Builder(model).op('Neg', [mean]));
    expect(batchNormTraining(model, undefined, 64)!.mode).toBe('frozen');
    expect(() => batchNormTraining(model, 'train', 64)).toThrow(/no batch norm.*--batch-norm frozen/);
    model.outputs.pop();
    expect(trainingStep(normed(), { batchNorm: 'train' }).statistics.map(({ name }) => name)).toEqual([
      'bn.running_mean',
      'bn.running_var',
    ]);
  });

  it('refuses a batch that has no variance', () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', ['N', 2]);
    const four = [1, 2, 3, 4].map((v) => graph.addConstant(`c${v}`, Tensor.float32([2], [v, v])));
    graph.outputs.push(b.op('BatchNormalization', [x, ...four]));
    expect(() => batchNormTraining(graph, 'train', 1)).toThrow(/one number a channel.*--batch-norm frozen/);
    expect(batchNormTraining(graph, 'train', 2)!.mode).toBe('train');
    expect(batchNormTraining(normed(), 'train', 1)!.mode).toBe('train');
  });
});
