import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InterruptedError, UserError } from '../common/errors.ts';
import { silent } from '../common/progress.ts';
import type { Split } from '../dataset/dataset.ts';
import { batches } from '../dataset/loader.ts';
import type { Graph } from '../graph/graph.ts';
import { inferGraph } from '../graph/infer.ts';
import { buffers, parameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import { evaluate } from '../measure/accuracy.ts';
import { prune } from '../prune/prune.ts';
import { quantizeDynamic } from '../quantize/dynamic.ts';
import { quantizeStatic } from '../quantize/static.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { initModel } from '../zoo/model.ts';
import { modelInfo } from '../zoo/model-info.ts';
import { stateDict } from '../zoo/state.ts';
import { fileCheckpoints } from './checkpoint.node.ts';
import type { CheckpointStore, TrainingCheckpoint } from './checkpoint.ts';
import { finetune } from './finetune.ts';
import type { FinetuneOptions } from './finetune-options.ts';

const edge = 8;
const tiny = () =>
  initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: edge, patch_size: 4, in_chans: 1, embed_dim: 8, depth: 1, num_heads: 2 },
    numClasses: 2,
    preprocessing: {
      inputSize: [1, edge, edge],
      mean: [0.5],
      std: [0.5],
      interpolation: 'bicubic',
      cropPct: 1,
      cropMode: 'center',
    },
  });

/** Class 0 is bright on top, class 1 below. */
const bars = (length: number, labels = 2): Split => ({
  name: 'bars',
  length,
  label: (index) => index % labels,
  id: (index) => `${index}`,
  async read(index) {
    const data = new Uint8Array(edge * edge);
    data.forEach((_, i) => {
      const top = i < data.length / 2;
      data[i] = (top === (index % 2 === 0) ? 150 : 60) + ((index * 37 + i * 11) % 60);
    });
    return { width: edge, height: edge, channels: 1, data };
  },
});
const data = { train: bars(40), val: bars(10) };

const options = (over: Partial<FinetuneOptions> = {}): FinetuneOptions => ({
  preprocessing: modelInfo(tiny()).preprocessing,
  epochs: 3,
  batchSize: 8,
  lr: 0.01,
  weightDecay: 0.05,
  warmup: 0.1,
  labelSmoothing: 0.1,
  clipNorm: 1,
  mixup: 0.2,
  augment: { crop: { kind: 'shift', pixels: 1 } },
  seed: 5,
  threads: 1,
  ...over,
});

/** Training for static int8, with ranges found on a few of the images. */
const staticInt8 = () =>
  ({
    qat: true,
    scheme: 'static',
    calibration: batches(data.train, modelInfo(tiny()).preprocessing, {
      engine: onnxruntime,
      batchSize: 8,
      limit: 16,
    }),
  }) as const;

const weights = (graph: Graph) => parameters(graph).map((value) => Array.from(value.tensor!.floats));

/** Aborts when the bar reaches so many images. */
function stopAt(images: number) {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    progress: {
      task: () => ({
        update(done: number) {
          if (done >= images) controller.abort();
        },
        done() {},
      }),
      note() {},
    },
  };
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'finetune-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('finetune', () => {
  it('keeps the best epoch where that is wanted, and ends when none gets better', async () => {
    const over = { epochs: 12, lr: 0.05, patience: 2, best: true, mixup: 0 };
    const { graph, history } = await finetune(onnxruntime, tiny(), data, options(over));
    const top1s = history.epochs.map(({ top1 }) => top1!);
    const best = top1s.indexOf(Math.max(...top1s));
    expect(history.epochs.length).toBe(Math.min(12, best + 3));
    const { preprocessing } = modelInfo(graph);
    const { top1 } = await evaluate(onnxruntime, graph, data.val, { preprocessing, batchSize: 10 });
    expect(top1).toBe(top1s[best]);
  });

  it.each([
    ['sgd', { optimizer: 'sgd', momentum: 0.8, nesterov: true, lr: 0.1 }],
    ['a running mean and the best epoch', { emaDecay: 0.9, best: true, epochs: 4 }],
    ['rates of layers and steps of the rate', { layerDecay: 0.5, schedule: 'step', decayEpochs: 1 }],
    ['images repeated', { repeatedAugment: 3 }],
    ['static int8, a running mean, the best epoch', { ...staticInt8(), emaDecay: 0.9, best: true }],
    [
      'dynamic int8, accumulated',
      { qat: true, backend: 'x86', weights: 'torch', accumulate: 2, batchSize: 4 },
    ],
    ['branches left out, accumulated', { dropPath: 0.5, accumulate: 2, batchSize: 4 }],
  ] as const)('stopped and resumed ends with the same weights: %s', async (_, over) => {
    const model = () => ('dropPath' in over ? deeper() : tiny());
    const whole = await finetune(onnxruntime, model(), data, options(over));
    const folder = mkdtempSync(join(tmpdir(), 'resumed-'));
    try {
      const checkpoints = fileCheckpoints(folder);
      const context = { checkpoints, ...stopAt(60) };
      await expect(finetune(onnxruntime, model(), data, options(over), context)).rejects.toThrow(
        InterruptedError,
      );
      const resumed = await finetune(onnxruntime, model(), data, options(over), {
        checkpoints,
        resume: true,
      });
      expect(weights(resumed.graph)).toEqual(weights(whole.graph));
      expect(resumed.history.epochs).toEqual(whole.history.epochs);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('says how many branches are left out, and that there are none', async () => {
    const notes: string[] = [];
    const progress = { ...silent, note: (line: string) => notes.push(line) };
    const over = options({ dropPath: 0.5, epochs: 1 });
    const { graph } = await finetune(onnxruntime, deeper(), data, over, { progress });
    expect(notes.join()).toContain('drop path: 2 residual branches are left out for up to 0.5 of the images');
    expect(graph.inputs.map(({ name }) => name)).toEqual(['pixel_values']);
    await expect(finetune(onnxruntime, tiny(), data, over)).rejects.toThrow(/1 blocks have none behind/);
  });

  it.each([
    ['nothing is to be changed', undefined],
    ['nothing is to be decoded', { crop: { kind: 'shift', pixels: 1 } } as const],
  ])('says where workers have nothing to do, since %s', async (_, augment) => {
    const notes: string[] = [];
    const progress = { ...silent, note: (line: string) => void notes.push(line) };
    await finetune(onnxruntime, tiny(), data, options({ epochs: 1, workers: 1, augment }), { progress });
    expect(notes.join()).toContain('workers have nothing to do: ');
  });

  it('of a model of a fixed batch takes batches of that size, and as many for an update as were asked for', async () => {
    const fixed = tiny();
    fixed.inputs[0]!.shape = [2, ...fixed.inputs[0]!.shape!.slice(1)];
    inferGraph(fixed);
    const notes: string[] = [];
    const progress = { ...silent, note: (line: string) => notes.push(line) };
    const over = { mixup: 0, epochs: 1, labelSmoothing: 0 };
    const { graph, history } = await finetune(onnxruntime, fixed, data, options(over), { progress });
    expect(notes.join()).toContain(
      'takes 2 images at a time and no other number: 4 such batches make an update',
    );
    expect(history.steps).toHaveLength(5);
    const free = await finetune(onnxruntime, tiny(), data, options(over));
    const [found, wanted] = [weights(graph).flat(), weights(free.graph).flat()];
    const differences = found.map((x, i) => Math.abs(x - wanted[i]!));
    expect(Math.max(...differences)).toBeLessThan(2e-3);
  });

  it('learns, says how, and leaves the model it was given alone', async () => {
    const model = tiny();
    const before = weights(model);
    const plain = options({ epochs: 12, mixup: 0, evaluate: true });
    const { graph, history } = await finetune(onnxruntime, model, data, plain);
    expect(history.epochs).toHaveLength(12);
    expect(history.steps).toHaveLength(60);
    expect(history.steps.at(-1)!.step).toBe(60);
    expect(history.epochs.at(-1)!.loss).toBeLessThan(history.epochs[0]!.loss);
    expect(history.epochs.at(-1)!.top1).toBe(1);
    expect(weights(model)).toEqual(before);
    expect(weights(graph)).not.toEqual(before);
  });

  it.each([
    ['in the middle of an epoch', 56, {}],
    ['at the end of an epoch', 80, {}],
    ['in the first step', 1, {}],
    ['between updates of accumulated batches', 56, { batchSize: 4, accumulate: 2 }],
  ])('interrupted %s and resumed, it ends with the same weights bit for bit', async (_, images, over) => {
    const whole = await finetune(onnxruntime, tiny(), data, options(over));
    const checkpoints = fileCheckpoints(folder);
    const stopped = finetune(onnxruntime, tiny(), data, options(over), { checkpoints, ...stopAt(images) });
    await expect(stopped).rejects.toThrow(InterruptedError);
    expect(readdirSync(folder)).toEqual(['checkpoint.safetensors']);
    const resumed = await finetune(onnxruntime, tiny(), data, options(over), { checkpoints, resume: true });
    expect(weights(resumed.graph)).toEqual(weights(whole.graph));
    expect(resumed.history).toEqual(whole.history);
  });

  it('killed after a checkpoint within an epoch, it ends with the same weights bit for bit', async () => {
    const whole = await finetune(onnxruntime, tiny(), data, options());
    const saved: TrainingCheckpoint[] = [];
    const every: CheckpointStore = {
      load: async () => undefined,
      save: async (checkpoint) => void saved.push(structuredCopy(checkpoint)),
    };
    await finetune(onnxruntime, tiny(), data, options(), { checkpoints: every, checkpointEvery: 0 });
    const within = saved.find(({ progress }) => progress.epoch === 1 && progress.batch === 2)!;
    const store: CheckpointStore = { load: async () => within, save: async () => {} };
    const resumed = await finetune(onnxruntime, tiny(), data, options(), {
      checkpoints: store,
      resume: true,
    });
    expect(weights(resumed.graph)).toEqual(weights(whole.graph));
    expect(resumed.history).toEqual(whole.history);
  });

  it('learns the statistics of batch norms, says so, and resumed ends with the same, bit for bit', async () => {
    const modelArgs = { in_chans: 1, embed_dim: [8], depth: [1] };
    const model = () => initModel({ ...modelOf(), architecture: 'repvit_m0_9', modelArgs }, 1);
    const over = { mixup: 0, emaDecay: 0.5, batchSize: 4, accumulate: 2 };
    const notes: string[] = [];
    const progress = { ...silent, note: (line: string) => void notes.push(line) };
    const whole = await finetune(onnxruntime, model(), data, options(over), { progress });
    expect(notes.join()).toMatch(/batch norm train: \d+ batch norms normalize by each batch/);
    const state = (graph: Graph) => buffers(graph).map(({ tensor }) => Array.from(tensor!.floats));
    expect(state(whole.graph).length).toBeGreaterThan(10);
    state(whole.graph).forEach((learned, i) => {
      expect(learned).not.toEqual(state(model())[i]);
    });
    const counted = (graph: Graph) =>
      [...stateDict(graph)].flatMap(([name, { data: count }]) =>
        name.endsWith('num_batches_tracked') ? [Number(count[0])] : [],
      );
    expect(new Set(counted(whole.graph))).toEqual(new Set([3 * 10])); // epochs, batches
    const checkpoints = fileCheckpoints(folder);
    const stopped = finetune(onnxruntime, model(), data, options(over), { checkpoints, ...stopAt(56) });
    await expect(stopped).rejects.toThrow(InterruptedError);
    const frozen = options({ ...over, batchNorm: 'frozen' });
    const resume = { checkpoints, resume: true };
    await expect(finetune(onnxruntime, model(), data, frozen, resume)).rejects.toThrow(/\(batchNorm\)/);
    const resumed = await finetune(onnxruntime, model(), data, options(over), resume);
    expect(state(resumed.graph)).toEqual(state(whole.graph));
    expect(weights(resumed.graph)).toEqual(weights(whole.graph));
    const kept = await finetune(onnxruntime, model(), data, frozen);
    expect(state(kept.graph)).toEqual(state(model()));
    expect(counted(kept.graph)).toEqual(counted(model()));
  });

  it('goes on from a checkpoint that was written before an option was known', async () => {
    const checkpoints = fileCheckpoints(folder);
    const stop = { checkpoints, ...stopAt(40) };
    await expect(finetune(onnxruntime, tiny(), data, options(), stop)).rejects.toThrow(InterruptedError);
    const { tensors, progress } = (await checkpoints.load())!;
    const { mixProb, ...older } = JSON.parse(progress.recipe) as Record<string, unknown>;
    expect(mixProb).toBe(1);
    await checkpoints.save({ tensors, progress: { ...progress, recipe: JSON.stringify(older) } });
    const other = finetune(onnxruntime, tiny(), data, options({ mixProb: 0.5 }), {
      checkpoints,
      resume: true,
    });
    await expect(other).rejects.toThrow(/other options \(mixProb\)/);
    await finetune(onnxruntime, tiny(), data, options(), { checkpoints, resume: true });
  });

  it.each(['dynamic', 'static'] as const)(
    'for %s int8 gives a float32 model that is better in int8',
    async (scheme) => {
      const teacher = tiny();
      const { calibration } = staticInt8();
      const choice = { backend: 'qnnpack', weights: 'torch' } as const;
      const distanceInInt8 = async (model: Graph) => {
        const int8 = await (scheme === 'static'
          ? quantizeStatic(onnxruntime, model, { ...choice, data: calibration })
          : quantizeDynamic(onnxruntime, model, choice));
        let [error, size] = [0, 0];
        for await (const { pixels } of calibration) {
          const [found, wanted] = await Promise.all(
            [int8, teacher].map((graph) => runOnce(onnxruntime, graph, { pixel_values: pixels })),
          );
          wanted!.logits!.floats.forEach((value, i) => {
            error += (found!.logits!.floats[i]! - value) ** 2;
            size += value ** 2;
          });
        }
        return error / size;
      };
      const start = lopsided(teacher, 64);
      const run = options({ task: 'distill', teacher, epochs: 8, mixup: 0, weightDecay: 0, lr: 0.001 });
      const plain = await finetune(onnxruntime, start, data, run);
      const aware = await finetune(onnxruntime, start, data, {
        ...run,
        ...choice,
        qat: true,
        scheme,
        calibration,
      });
      expect(parameters(aware.graph).map(({ name, dtype }) => [name, dtype])).toEqual(
        parameters(start).map(({ name }) => [name, 'float32']),
      );
      expect(aware.graph.nodes.map(({ op }) => op)).toEqual(start.nodes.map(({ op }) => op));
      const [before, without, after] = await Promise.all(
        [start, plain.graph, aware.graph].map(distanceInInt8),
      );
      expect(before).toBeGreaterThan(0.02);
      expect(after).toBeLessThan(before! / 10);
      expect(after).toBeLessThan(without! / 10);
    },
  );

  it('measures epochs in the int8 numbers it trains for', async () => {
    const learnt = await finetune(onnxruntime, tiny(), data, options({ epochs: 12, mixup: 0 }));
    const model = lopsided(learnt.graph, 512);
    const choice = { backend: 'qnnpack', weights: 'torch' } as const;
    const run = options({ ...choice, epochs: 1, mixup: 0, lr: 1e-9, evaluate: true });
    const measured = async (graph: Graph) => {
      const { preprocessing } = modelInfo(tiny());
      return (await evaluate(onnxruntime, graph, data.val, { preprocessing, batchSize: 10 })).top1;
    };
    const top1 = async (qat: boolean) =>
      (await finetune(onnxruntime, model, data, { ...run, qat })).history.epochs[0]!.top1;
    expect(await top1(false)).toBe(await measured(model));
    expect(await top1(true)).toBe(await measured(await quantizeDynamic(onnxruntime, model, choice)));
    expect(await top1(true)).toBeLessThan((await top1(false))!);
  });

  it('distils: a model taught by another with full weight comes to agree with it', async () => {
    const { graph: teacher } = await finetune(onnxruntime, tiny(), data, options({ epochs: 12, mixup: 0 }));
    const student = deeper();
    const taught = options({ teacher, distill: 1, temperature: 2, epochs: 15, mixup: 0 });
    const { history } = await finetune(onnxruntime, student, data, taught);
    expect(history.epochs.at(-1)!.loss).toBeLessThan(history.epochs[0]!.loss / 2);
    expect(history.epochs.at(-1)!.trainTop1).toBe(1);
  });

  it('distils features: a pruned model comes near to what the blocks of the whole one hand on', async () => {
    const { graph: pupil, kept } = await prune(onnxruntime, tiny(), { ratio: 0.25 });
    const feature = { distillKind: 'feature', mixup: 0, epochs: 8 } as const;
    const run = options({ ...feature, teacher: tiny(), kept, distill: 1 });
    const { history } = await finetune(onnxruntime, pupil, data, run);
    expect(history.epochs.at(-1)!.loss).toBeLessThan(history.epochs[0]!.loss / 2);
    await expect(finetune(onnxruntime, pupil, data, { ...run, kept: undefined })).rejects.toThrow(
      /pruned from, and what pruning kept \(pruning\.json/,
    );
  });

  it('distils hard: learns the classes that the teacher chooses, whatever the labels say', async () => {
    const { graph: teacher } = await finetune(onnxruntime, tiny(), data, options({ epochs: 12, mixup: 0 }));
    const swapped = (split: Split): Split => ({ ...split, label: (index) => (index + 1) % 2 });
    const wrong = { train: swapped(data.train), val: data.val };
    const hard = options({ teacher, distill: 1, distillKind: 'hard', epochs: 12, mixup: 0, evaluate: true });
    const { history } = await finetune(onnxruntime, tiny(), wrong, hard);
    expect(history.epochs.at(-1)!.top1).toBe(1);
    await expect(finetune(onnxruntime, tiny(), data, options({ distillKind: 'hard' }))).rejects.toThrow(
      /hard distillation learns from a teacher: give one/,
    );
  });

  it('stops when the loss is not finite: says when, and keeps the last good checkpoint', async () => {
    const checkpoints = fileCheckpoints(folder);
    const stop = { checkpoints, ...stopAt(40) };
    await expect(finetune(onnxruntime, tiny(), data, options(), stop)).rejects.toThrow(InterruptedError);
    const good = await checkpoints.load();
    const broken = tiny();
    const value = broken.constants.get('norm.weight')!;
    broken.setConstant(value, Tensor.float32([8], Array(8).fill(Number.NaN)));
    const run = finetune(onnxruntime, broken, data, options(), { checkpoints });
    await expect(run).rejects.toThrow(/diverged: the loss is NaN in epoch 1, step 1/);
    expect(await checkpoints.load()).toEqual(good);
  });

  it('learns the outputs of a teacher without labels, and needs one', async () => {
    const headless = (seed: number) => initModel({ ...modelOf(), numClasses: 0 }, seed);
    const distill = options({ task: 'distill', mixup: 0, epochs: 8, evaluate: true });
    const many = { train: bars(40, 7), val: bars(10, 7) };
    const run = { ...distill, teacher: headless(2) };
    const { history } = await finetune(onnxruntime, headless(1), many, run);
    expect(history.epochs.at(-1)!.loss).toBeLessThan(history.epochs[0]!.loss / 2);
    expect(history.epochs.at(-1)!.top1).toBeUndefined();
    expect(history.epochs.at(-1)!.trainTop1).toBeUndefined();
    await expect(finetune(onnxruntime, headless(1), many, distill)).rejects.toThrow(
      /learns from a teacher: give/,
    );
    await expect(finetune(onnxruntime, headless(1), many, { ...run, mixup: 1 })).rejects.toThrow(
      /blend labels/,
    );
  });

  it('begins anew, and says so, where the checkpoint is damaged or of an older version', async () => {
    const notes: string[] = [];
    const progress = { ...silent, note: (text: string) => void notes.push(text) };
    const checkpoints = fileCheckpoints(folder, progress);
    const path = join(folder, 'checkpoint.safetensors');
    const once = options({ epochs: 1 });
    const { graph } = await finetune(onnxruntime, tiny(), data, once, { checkpoints });
    const whole = readFileSync(path);
    const older = Buffer.from(whole.toString('latin1').replace('lossSum', 'loss_of'), 'latin1');
    for (const damaged of ['x', '', whole.subarray(0, whole.length - 8), older]) {
      writeFileSync(path, damaged);
      const again = await finetune(onnxruntime, tiny(), data, once, { checkpoints, resume: true });
      expect(notes.pop()).toMatch(/can't be gone on from \(.*\): training starts anew/);
      expect(weights(again.graph)).toEqual(weights(graph));
    }
    expect(notes).toEqual([]);
  });

  it('refuses what can not be trained or resumed, in one line', async () => {
    const refused = (over: Partial<FinetuneOptions>, given = data) =>
      expect(finetune(onnxruntime, tiny(), given, options(over))).rejects;
    await refused({ epochs: 0 }).toThrow(UserError);
    await refused({ lr: Number.NaN }).toThrow(/lr: it must be a number above 0, not NaN/);
    await refused({ warmup: 1 }).toThrow(/warmup: it must be a number from 0, below 1/);
    await refused({}, { train: bars(0), val: bars(1) }).toThrow(/no images/);
    await refused({ qat: true, scheme: 'static' }).toThrow(/static int8 needs images/);
    await refused({ qat: true, ignore: ['*'] }).toThrow(/every layer is ignored/);
    await refused({ mixup: 0 }, { train: bars(40, 3), val: bars(1) }).toThrow(/label 2.*2 classes/);
    const checkpoints = fileCheckpoints(folder);
    const stop = { checkpoints, ...stopAt(1) };
    await expect(finetune(onnxruntime, tiny(), data, options(), stop)).rejects.toThrow(InterruptedError);
    await expect(
      finetune(onnxruntime, tiny(), data, options({ lr: 0.02 }), { checkpoints, resume: true }),
    ).rejects.toThrow(/other options \(lr\)/);
  });
});

/** Of two blocks. */
const deeper = () => initModel({ ...modelOf(), modelArgs: { ...modelOf().modelArgs, depth: 2 } }, 3);

function modelOf() {
  const { architecture, modelArgs, numClasses, preprocessing } = modelInfo(tiny());
  return { architecture: architecture!, modelArgs: modelArgs!, numClasses, preprocessing };
}

/** A checkpoint that later steps do not write to. */
const structuredCopy = ({ tensors, progress }: TrainingCheckpoint): TrainingCheckpoint => ({
  tensors: Object.fromEntries(
    Object.entries(tensors).map(([slot, { shape, floats }]) => [slot, Tensor.float32(shape, floats.slice())]),
  ),
  progress: structuredClone(progress),
});

/**
 * The same function, but hard to round: one channel of each norm is small, and the weights that read it large, so that
 * a scale for the whole matrix leaves the others few steps.
 */
function lopsided(model: Graph, by: number): Graph {
  const { graph } = model.clone();
  const scaled = (name: string, factor: (i: number) => number) => {
    const value = graph.constants.get(name)!;
    const { shape, floats } = value.tensor!;
    graph.setConstant(
      value,
      Tensor.float32(
        shape,
        floats.map((w, i) => w * factor(i)),
      ),
    );
  };
  const pairs = { 'blocks.0.norm1': 'blocks.0.attn.qkv', 'blocks.0.norm2': 'blocks.0.mlp.fc1', norm: 'head' };
  for (const [norm, reader] of Object.entries(pairs)) {
    for (const kind of ['weight', 'bias']) scaled(`${norm}.${kind}`, (i) => (i === 0 ? 1 / by : 1));
    scaled(`${reader}.weight`, (i) => (i % 8 === 0 ? by : 1));
  }
  return graph;
}

it('the loss of an update is the mean over all of its batches', async () => {
  const first = async (batchSize: number, accumulate: number) => {
    const plain = options({ batchSize, accumulate, epochs: 1, mixup: 0, augment: undefined });
    const { history } = await finetune(onnxruntime, tiny(), data, plain);
    return history.steps[0]!.loss;
  };
  expect(await first(4, 2)).toBeCloseTo(await first(8, 1), 5);
});
