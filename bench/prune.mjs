/**
 * What importances cost, against Torch-Pruning and against the floor, in turns on the same machine: Taylor and Hessian an
 * image, from batches of random images that are ready; L1 as a whole command, which reads the weights from a folder and writes the pruned
 * model. The floor is three forward passes at the rate at which the engine multiplies the model's largest matrix. After
 * `npm run build`:
 *
 *     TORCH_PRUNING=CHECKOUT node bench/prune.mjs --python PATH [--model NAME] [--batch N] [--runs N] [--threads N] [--only WAY]
 *
 * The Python (default: $PQV_PYTHON, else python3) needs torch and timm; TORCH_PRUNING is a checkout of VainF/Torch-Pruning.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  axisCurvatures,
  countMacs,
  findGroups,
  initModel,
  onnxruntime,
  saveModel,
  scoredParameters,
  summedGradients,
  Tensor,
} from 'pqv-mobile/node';
import { judge } from './judge.mjs';
import { largestProduct } from './product.mjs';

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: process.env.PQV_PYTHON ?? 'python3' },
    model: { type: 'string', default: 'deit_base_patch16_224' },
    batch: { type: 'string', default: '16' },
    runs: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    only: { type: 'string', default: '' },
  },
});
const [batch, runs, threads] = [values.batch, values.runs, values.threads].map(Number);
/** Threads of one side that wait actively would take time from the other. */
const pause = 300;
/** In its second run the engine takes the memory that it then keeps. */
const warmUps = 2;
const median = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];

const model = initModel({ architecture: values.model });
const [, channels, height, width] = model.inputs[0].shape;
const images = {
  pixels: Tensor.float32(
    [batch, channels, height, width],
    Float32Array.from({ length: batch * channels * height * width }, () => Math.random() * 2 - 1),
  ),
  labels: Tensor.int64(Array.from({ length: batch }, (_, i) => i)),
};
const parameters = scoredParameters(findGroups(model).groups);
const script = fileURLToPath(new URL('prune_torch.py', import.meta.url));
const torch = await judge(values.python, script, ['serve'], `load ${values.model} ${batch} ${threads}`);
if (!torch) throw new Error(`${values.python} is not there: --python names one with torch and timm`);
const product = await largestProduct(model, batch, threads);

const ways = { taylor: summedGradients, hessian: axisCurvatures };
console.log(
  `${cpus()[0].model}, ${threads} threads, ${values.model}, batches of ${batch}, median of ${runs}, float32`,
);
console.log(`${onnxruntime.name}, PyTorch and Torch-Pruning ${torch.version}\n`);
console.log('| | ours, ms an image | Torch-Pruning | ratio | floor | over it |');
console.log('|---|--:|--:|--:|--:|--:|');
for (const [name, scored] of Object.entries(ways)) {
  if (!name.includes(values.only)) continue;
  const times = { ours: [], theirs: [], rates: [] };
  /** Hands a batch on when the last one is done, and lets the others have their turn before. */
  async function* turns() {
    for (let i = -warmUps; i < runs; i++) {
      const begin = performance.now();
      yield images;
      const ours = performance.now() - begin;
      await sleep(pause);
      const theirs = Number(await torch.ask(name));
      await sleep(pause);
      const rate = await product.rate();
      await sleep(pause);
      if (i < 0) continue;
      times.ours.push(ours / batch);
      times.theirs.push(theirs / batch);
      times.rates.push(rate);
    }
  }
  await scored(onnxruntime, model, parameters, turns(), { threads });
  const [ours, theirs, floor] = [
    median(times.ours),
    median(times.theirs),
    (3 * countMacs(model)) / median(times.rates),
  ];
  console.log(
    `| ${name} | ${ours.toFixed(0)} | ${theirs.toFixed(0)} | ${(theirs / ours).toFixed(2)}x | ${floor.toFixed(0)} | ${(ours / floor).toFixed(2)}x |`,
  );
}
torch.close();
await product.dispose();

if ('l1'.includes(values.only)) {
  const folder = mkdtempSync(join(tmpdir(), 'pqv-bench-'));
  try {
    await saveModel(model, join(folder, 'model'));
    const manifest = createRequire(import.meta.url).resolve('pqv-mobile/package.json');
    const main = join(manifest, '..', JSON.parse(readFileSync(manifest, 'utf8')).bin.pqv);
    const commands = {
      ours: [
        process.execPath,
        main,
        'prune',
        join(folder, 'model'),
        '-o',
        join(folder, 'ours'),
        '--ratio',
        '0.09375',
        '--quiet',
      ],
      theirs: [
        values.python,
        script,
        'l1',
        values.model,
        join(folder, 'model/model.safetensors'),
        '0.09375',
        join(folder, 'theirs.pt'),
      ],
    };
    const times = { ours: [], theirs: [] };
    for (let i = -1; i < runs; i++) {
      for (const [side, [command, ...rest]] of Object.entries(commands)) {
        const begin = performance.now();
        const { status, stderr } = spawnSync(command, rest, { encoding: 'utf8' });
        if (status !== 0) throw new Error(stderr);
        if (i >= 0) times[side].push((performance.now() - begin) / 1000);
      }
    }
    const [ours, theirs] = [median(times.ours), median(times.theirs)];
    console.log(
      `\nL1 as a whole command: ours ${ours.toFixed(1)} s, Torch-Pruning ${theirs.toFixed(1)} s, ${(theirs / ours).toFixed(2)}x`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
