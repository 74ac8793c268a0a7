/**
 * Peak memory and time of training steps that keep activations, and that compute them again (`finetune --recompute`), each
 * in a process of its own, in turns. After `npm run build`:
 *
 *     node bench/recompute.mjs [--runs 3] [--steps 4] [--threads 2] [--only NAME]
 *
 * Peak: resident memory of the whole process, with Node, the model, and the optimizer's state; median of the runs.
 * Time: the median of a run's steps after the first two, of the runs the least, since a busy machine only adds.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { initModel, onnxruntime, Tensor, Trainer } from 'pqv-mobile/node';

const cases = [
  { name: 'deit_tiny_patch16_224', batch: 16 },
  { name: 'deit_base_patch16_224', batch: 8 },
];
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    steps: { type: 'string', default: '4' },
    threads: { type: 'string', default: '2' },
    only: { type: 'string' },
    child: { type: 'string' },
  },
});

function peakBytes() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
}

async function measured({ name, batch, recompute, steps, threads }) {
  const model = initModel({ architecture: name });
  const trainer = await Trainer.create(onnxruntime, model, { threads, clipNorm: 1, recompute });
  const shape = [batch, ...model.inputs[0].shape.slice(1)];
  const pixels = new Float32Array(shape.reduce((a, b) => a * b)).map((_, i) => Math.sin(i));
  const targets = new Float32Array(batch * trainer.classes);
  for (let i = 0; i < batch; i++) targets[i * trainer.classes + i] = 1;
  const input = {
    pixels: Tensor.float32(shape, pixels),
    targets: Tensor.float32([batch, trainer.classes], targets),
  };
  const times = [];
  let loss;
  for (let i = 0; i < steps; i++) {
    const begin = performance.now();
    ({ loss } = await trainer.train(input, 1e-4, 0.05));
    times.push((performance.now() - begin) / 1000);
  }
  return { peak: peakBytes(), time: median(times.slice(2)), loss };
}

function inChild(settings) {
  const { status, stdout } = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), '--child', JSON.stringify(settings)],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  if (status !== 0) throw new Error(`the child ended with ${status}`);
  return JSON.parse(stdout);
}

if (values.child) {
  console.log(JSON.stringify(await measured(JSON.parse(values.child))));
} else {
  const [runs, steps, threads] = [values.runs, values.steps, values.threads].map(Number);
  console.log(`${cpus()[0].model}, ${threads} threads, ${onnxruntime.name}, AdamW, clipped, float32\n`);
  console.log('| model | batch | activations | peak MB | | s a step | |');
  console.log('|---|---|---|---|---|---|---|');
  for (const entry of cases.filter(({ name }) => !values.only || name.includes(values.only))) {
    const found = { kept: [], recomputed: [] };
    for (let run = 0; run < runs; run++) {
      for (const how of Object.keys(found)) {
        found[how].push(inChild({ ...entry, recompute: how === 'recomputed', steps, threads }));
      }
    }
    const losses = new Set(Object.values(found).flatMap((all) => all.map(({ loss }) => loss)));
    if (losses.size > 1) throw new Error(`${entry.name} ends with other losses: ${[...losses]}`);
    const figures = (all) => ({
      peak: median(all.map(({ peak }) => peak)),
      time: Math.min(...all.map(({ time }) => time)),
    });
    const kept = figures(found.kept);
    for (const how of Object.keys(found)) {
      const { peak, time } = figures(found[how]);
      const change = (now, before) =>
        now === before ? '' : `${now > before ? '+' : ''}${(100 * (now / before - 1)).toFixed(0)} %`;
      console.log(
        `| ${entry.name} | ${entry.batch} | ${how} | ${(peak / 1e6).toFixed(0)} | ${change(peak, kept.peak)} | ${time.toFixed(1)} | ${change(time, kept.time)} |`,
      );
    }
  }
}
