import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../../checkpoint/safetensors.ts';
import { InterruptedError } from '../../common/errors.ts';
import { silent } from '../../common/progress.ts';
import type { Split } from '../../dataset/dataset.ts';
import { modelParameters } from '../../graph/learned.ts';
import { Tensor } from '../../graph/tensor.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { runOnce } from '../../runtime/session.ts';
import { initModel } from '../../zoo/model.ts';
import { modelInfo } from '../../zoo/model-info.ts';
import type { FinetuneContext } from '../finetune.ts';
import type { FinetuneOptions } from '../finetune-options.ts';
import { eventIn } from './events.ts';
import { listImages } from './image-list.node.ts';
import { torchrunArguments } from './launch.node.ts';
import { trainableModule } from './module.ts';
import { JobPrepared, type TorchrunPlace, torchrunFinetuner } from './torchrun.node.ts';

const edge = 8;
const model = initModel({
  architecture: 'vit_tiny_patch16_224',
  modelArgs: { img_size: edge, patch_size: 4, in_chans: 1, embed_dim: 8, depth: 1, num_heads: 2 },
  numClasses: 2,
  preprocessing: {
    ...{ inputSize: [1, edge, edge], mean: [0.5], std: [0.5] },
    ...{ interpolation: 'bicubic', cropPct: 1, cropMode: 'center' },
  },
});
const weightNames = modelParameters(model).map(({ name }) => name);

const grey: Split = {
  name: 'grey',
  length: 12,
  label: (index) => index % 2,
  id: (index) => `${index}`,
  read: async (index) => ({
    ...{ width: edge, height: edge, channels: 1 as const },
    data: new Uint8Array(edge * edge).fill(index),
  }),
};

const options = (over: Partial<FinetuneOptions> = {}): FinetuneOptions => ({
  ...{ preprocessing: modelInfo(model).preprocessing, epochs: 2, batchSize: 4, seed: 3 },
  ...over,
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'torchrun-'));
});
afterEach(() => {
  delete process.env.PQV_PYTHON;
  rmSync(folder, { recursive: true });
});

/** A Python that has torch, and does `script` in the place of torchrun; there, `job` is the job's folder. */
function python(script: string): void {
  const path = join(folder, 'python');
  const text = `#!${process.execPath}
const fs = require('node:fs');
if (process.argv[2] === '-c') process.exit(0);
const job = process.argv[process.argv.findIndex((word) => word.endsWith('train.py')) + 1];
const tell = (event, figures) => console.log('pqv ' + JSON.stringify({ event, ...figures }));
${script}`;
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  process.env.PQV_PYTHON = path;
}

const place = (over: Partial<TorchrunPlace> = {}): TorchrunPlace => ({
  ...{ folder, nprocPerNode: 2, nnodes: 1, engineArgs: '', amp: 'auto' as const },
  ...over,
});

const train = (
  input: Partial<FinetuneOptions> = {},
  context: FinetuneContext = {},
  where: Partial<TorchrunPlace> = {},
) => torchrunFinetuner(place(where))(onnxruntime, model, { train: grey, val: grey }, options(input), context);

const job = () => JSON.parse(readFileSync(join(folder, 'torchrun/job.json'), 'utf8'));

/** The file of a trainer that set every weight to a number; its outputs may be off by a factor. */
async function trainedTo(value: number, factor = 1): Promise<string> {
  const { graph } = model.clone();
  for (const name of weightNames) {
    const { shape, size } = graph.constants.get(name)!.tensor!;
    const numbers = Float32Array.from({ length: size }, (_, i) => value * Math.sin(i));
    graph.setConstant(graph.constants.get(name)!, Tensor.float32(shape, numbers));
  }
  const pixels = Float32Array.from({ length: 2 * edge * edge }, (_, i) => Math.cos(i));
  const input = Tensor.float32([2, 1, edge, edge], pixels);
  const { logits } = await runOnce(onnxruntime, graph, { pixel_values: input });
  const output = Tensor.float32(
    [2, 2],
    logits!.floats.map((number) => factor * number),
  );
  const weights = weightNames.map((name): [string, Tensor] => [
    `weights.${name}`,
    graph.constants.get(name)!.tensor!,
  ]);
  const path = join(folder, 'trained');
  const file = encodeSafetensors([...weights, ['check.input', input], ['check.output', output]]);
  writeFileSync(path, Buffer.concat([...file]));
  return path;
}

/** A trainer that trains for a step and an epoch. */
const trainer = (result: string) => `
tell('begin', { processes: 2, device: 'CPU', precision: 'float32', torch: '2.13' });
const step = { step: 1, epoch: 1, loss: 0.7, lr: 0.1, gradNorm: 1 }, epoch = { epoch: 1, loss: 0.7, trainTop1: 0.5 };
tell('step', { ...step, images: 4 });
tell('epoch', epoch);
const { digest } = JSON.parse(fs.readFileSync(job + '/job.json'));
fs.writeFileSync(job + '/history.json', JSON.stringify({ digest, steps: [step], epochs: [epoch] }));
fs.copyFileSync(${JSON.stringify(result)}, job + '/result.pth');
tell('done');`;

describe('a job', () => {
  it('says which parameters learn how, and holds every option', async () => {
    await expect(train({ layerDecay: 0.5 }, {}, { prepareOnly: true })).rejects.toThrow(JobPrepared);
    const { parameters, ...rest } = job();
    expect(parameters.map(({ key }: { key: string }) => key)).toEqual(weightNames);
    const named = (key: string) => parameters.find((entry: { key: string }) => entry.key === key);
    expect(named('head.weight')).toEqual({ key: 'head.weight', decays: true, rate: 1 });
    expect(named('head.bias')).toMatchObject({ decays: false });
    expect(named('blocks.0.mlp.fc1.weight')).toMatchObject({ decays: true, rate: 0.5 });
    expect(named('pos_embed')).toMatchObject({ decays: false, rate: 0.25 });
    expect(rest).toMatchObject({
      ...{ classes: 2, epochs: 2, batchSize: 4, batchesAnEpoch: 3, totalSteps: 6, seed: 3 },
      ...{ trainImages: 12, teacher: false, evaluate: false, task: 'classify', labelSmoothing: 0.1 },
    });
    expect(existsSync(join(folder, 'torchrun/trainer/train.py'))).toBe(true);
    expect(existsSync(join(folder, 'torchrun/heldout.jsonl'))).toBe(false);
  });

  it('says which statistics batch norms learn', async () => {
    const norms = initModel({ architecture: 'levit_128s', numClasses: 2 });
    const prepared = (over: Partial<FinetuneOptions>) =>
      torchrunFinetuner(place({ prepareOnly: true }))(
        onnxruntime,
        norms,
        { train: grey, val: grey },
        options(over),
      );
    await expect(prepared({ batchNorm: 'frozen' })).rejects.toThrow(JobPrepared);
    expect(job().statistics).toEqual([]);
    await expect(prepared({ batchNorm: 'train' })).rejects.toThrow(JobPrepared);
    expect(job().statistics).toContain('stem.conv1.bn.running_var');
    expect(job().statistics.every((key: string) => /running_(mean|var)$/.test(key))).toBe(true);
  });

  it('says how likely each branch is kept', async () => {
    const modelArgs = { img_size: 32, patch_size: 16, embed_dim: 8, depth: 3, num_heads: 2 };
    const deep = initModel({ architecture: 'vit_tiny_patch16_224', modelArgs, numClasses: 2 });
    const module = trainableModule(deep, { features: false, dropPath: 0.5, int8: undefined });
    expect(module.paths.map(({ keep }) => keep)).toEqual([0.75, 0.75, 0.5, 0.5]);
    await expect(train({ qat: true, scheme: 'dynamic' }, {}, { prepareOnly: true })).rejects.toThrow(
      JobPrepared,
    );
    expect(job()).toMatchObject({ qat: true, keeps: [] });
  });

  it('for int8 holds rounding that gradients go past, and the same state', () => {
    const plain = trainableModule(model, { features: false, dropPath: 0, int8: undefined });
    const int8 = trainableModule(model, { features: false, dropPath: 0, int8: { backend: 'mlas' } });
    expect(new Set(int8.names.values())).toEqual(new Set(plain.names.values()));
    const code = ({ archive }: { archive: Iterable<Uint8Array> }) =>
      Buffer.concat([...archive]).toString('latin1');
    // An activation and a weight, each with what it stands for, for each of the Linears, and the kernel of the patches.
    expect(code(int8).match(/torch\.detach/g)?.length).toBe(4 * 5 + 2);
    expect(code(plain)).not.toContain('torch.detach');
  });

  it('lists the held-out images where they are measured on', async () => {
    await expect(train({ best: true }, {}, { prepareOnly: true })).rejects.toThrow(JobPrepared);
    const lines = readFileSync(join(folder, 'torchrun/heldout.jsonl'), 'utf8').trim().split('\n');
    expect(lines.length).toBe(12);
    expect(job().evaluate).toBe(true);
  });

  it('is refused where the trainer would do something else', async () => {
    await expect(train({ recompute: true })).rejects.toThrow(/torchrun does not know recompute true/);
    const { graph } = model.clone();
    graph.inputs[0]!.shape = [4, 1, edge, edge];
    const fixed = torchrunFinetuner(place())(onnxruntime, graph, { train: grey, val: grey }, options());
    await expect(fixed).rejects.toThrow(/takes 4 images at a time and no other number/);
  });
});

it('lists images where they lie, and copies what lies in no file by itself', async () => {
  const stored: Split = {
    ...grey,
    length: 3,
    source: async (index) =>
      [{ path: '/data/a.jpg' }, { path: '/data/0.tar', offset: 512, size: 99 }, Uint8Array.of(7, 8)][index]!,
  };
  const packed = await listImages(folder, { 'a.jsonl': stored, 'b.jsonl': { ...grey, length: 1 } }, silent);
  const lines = (name: string) =>
    readFileSync(join(folder, name), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  expect(lines('a.jsonl')).toEqual([
    [0, '/data/a.jpg'],
    [1, '/data/0.tar', 512, 99],
    [0, null, 0, 2],
  ]);
  expect(lines('b.jsonl')).toEqual([[0, null, 2, 64, [edge, edge, 1]]]);
  const bytes = readFileSync(join(folder, 'images.bin'));
  expect([packed, bytes.length, bytes[1], bytes[65]]).toEqual([66, 66, 8, 0]);
});

describe('a training by torchrun', () => {
  it('gives the weights and the history of the trainer', async () => {
    python(trainer(await trainedTo(0.3)));
    const { graph, history } = await train();
    expect(graph.constants.get('head.weight')!.tensor!.floats[1]).toBeCloseTo(0.3 * Math.sin(1), 6);
    expect(history.steps.map(({ loss }) => loss)).toEqual([0.7]);
    expect(history.epochs).toEqual([{ epoch: 1, loss: 0.7, trainTop1: 0.5 }]);
  });

  it('reads what was trained elsewhere, without training again', async () => {
    python(trainer(await trainedTo(0.3)));
    await train();
    python('process.exit(1);');
    const { graph } = await train({}, { resume: true });
    expect(graph.constants.get('head.weight')!.tensor!.floats[1]).toBeCloseTo(0.3 * Math.sin(1), 6);
    await expect(train({ lr: 1 }, { resume: true })).rejects.toThrow(/of another model or other options/);
  });

  it('does not take weights that give other outputs here', async () => {
    python(trainer(await trainedTo(0.3, 1.1)));
    await expect(train()).rejects.toThrow(/other outputs here than in PyTorch/);
  });

  it('fails in the words of the trainer, or else of its log', async () => {
    python("tell('failed', { message: 'training diverged' }); setTimeout(() => {}, 60_000);");
    await expect(train()).rejects.toThrow(/^training diverged$/);
    python("console.error('x\\nModuleNotFoundError: No module named \\'timm\\'\\nbye'); process.exit(1);");
    await expect(train()).rejects.toThrow(
      /torchrun ended with 1: ModuleNotFoundError: No module named 'timm'/,
    );
  });

  it('asks the trainer to stop, and can be gone on from', async () => {
    python(`tell('begin', { processes: 1, device: 'CPU', precision: 'float32', torch: '2' });
setInterval(() => {
  if (!fs.existsSync(job + '/stop')) return;
  tell('stopped', { epoch: 1, batch: 2 });
  process.exit(0);
}, 20);`);
    const stop = new AbortController();
    const training = train({}, { signal: stop.signal });
    setTimeout(() => stop.abort(), 300);
    const error = await training.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error).toMatchObject({ message: 'stopped in epoch 2 of 2, batch 2; resume to go on' });
    python(trainer(await trainedTo(0.3)));
    await train({}, { resume: true });
    expect(existsSync(join(folder, 'torchrun/stop'))).toBe(false);
  });
});

describe('the arguments of torchrun', () => {
  const words = (over: Partial<TorchrunPlace> = {}) => torchrunArguments('/job', place(over)).join(' ');

  it('start processes on one machine, and again when one dies', () => {
    expect(words()).toBe(
      '--nproc-per-node 2 --nnodes 1 --standalone --max-restarts 3 /job/trainer/train.py /job --amp auto',
    );
    expect(words({ engineArgs: '--max_restarts=0' })).not.toContain('--max-restarts 3');
  });

  it('say where several machines meet', () => {
    expect(() => words({ nnodes: 2 })).toThrow(/2 machines must be told where they meet/);
    const meeting = '--rdzv-backend c10d --rdzv-endpoint a:29500';
    expect(words({ nnodes: 2, engineArgs: meeting })).toContain(`--nnodes 2 --max-restarts 3 ${meeting}`);
  });
});

it('takes for events only what is one', () => {
  expect(eventIn('pqv {"event": "done"}')).toEqual({ event: 'done' });
  for (const line of ['done', 'pqv {"event": "dance"}', 'pqv {', 'pqv {"event": "step"}']) {
    expect(eventIn(line)).toBeUndefined();
  }
});
