/**
 * Time of a whole training step (forward, backward, AdamW) against PyTorch eager, step by step in
 * turns on the same machine. After `npm run build`:
 *
 *     node bench/train.mjs --python PATH [--runs N] [--threads N] [--only NAME]
 *
 * The Python (default: $PQV_PYTHON, else python3) needs torch and timm; without one only our side is
 * timed. Exits with 1 when ours is slower.
 */
import { spawn, spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { initModel, onnxruntime, Tensor, Trainer } from 'pqv-mobile/node';

const cases = [
  { name: 'deit_tiny_patch16_224', batch: 16 },
  { name: 'deit_small_patch16_224', batch: 16 },
  { name: 'deit_base_patch16_224', batch: 8 },
];
/** Threads of one side that wait actively would take time from the other. */
const pause = 300;

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: process.env.PQV_PYTHON ?? 'python3' },
    runs: { type: 'string', default: '7' },
    threads: { type: 'string', default: '2' },
    only: { type: 'string' },
  },
});
const threads = Number(values.threads);
const runs = Number(values.runs);
const median = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];

/** A Python process that answers a line with a line. */
function judge(python) {
  if (spawnSync(python, ['-c', 'import torch, timm'], { stdio: 'ignore' }).error) return undefined;
  const child = spawn(python, [fileURLToPath(new URL('train_torch.py', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(line) {
      child.stdin.write(`${line}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`${python} ended; it needs torch and timm`);
      return value;
    },
    close: () => child.stdin.end('quit\n'),
  };
}

async function ours({ name, batch }) {
  const model = initModel({ architecture: name });
  const start = performance.now();
  const trainer = await Trainer.create(onnxruntime, model, { threads });
  const loaded = performance.now() - start;
  const [, channels, height, width] = model.inputs[0].shape;
  const shape = [batch, channels, height, width];
  const pixels = Tensor.float32(
    shape,
    Float32Array.from({ length: batch * channels * height * width }, () => Math.random() * 2 - 1),
  );
  const targets = new Float32Array(batch * trainer.classes);
  for (let i = 0; i < batch; i++) targets[i * trainer.classes + i] = 1;
  const input = { pixels, targets: Tensor.float32([batch, trainer.classes], targets) };
  return {
    loaded,
    async step() {
      const begin = performance.now();
      await trainer.train(input, 1e-4, 0.05);
      return performance.now() - begin;
    },
    dispose: () => trainer.dispose(),
  };
}

const rows = [];
for (const entry of cases.filter(({ name }) => !values.only || name.includes(values.only))) {
  const torch = judge(values.python);
  const version = torch && (await torch.ask(`load ${entry.name} ${entry.batch} ${threads}`));
  const trainer = await ours(entry);
  const times = { ours: [], torch: [] };
  for (let i = -2; i < runs; i++) {
    const mine = await trainer.step();
    await sleep(pause);
    const theirs = torch && Number(await torch.ask('step'));
    await sleep(pause);
    if (i < 0) continue;
    times.ours.push(mine);
    if (torch) times.torch.push(theirs);
  }
  torch?.close();
  await trainer.dispose();
  rows.push({
    ...entry,
    version,
    loaded: trainer.loaded,
    ours: median(times.ours),
    torch: median(times.torch),
  });
}

console.log(`${cpus()[0].model}, ${threads} threads, median of ${runs} steps, float32`);
console.log(`${onnxruntime.name}${rows[0].version ? `, PyTorch ${rows[0].version} eager` : ''}\n`);
console.log(
  '| model | batch | ours ms | PyTorch ms | ours images/s | PyTorch images/s | ratio | graph load s |',
);
console.log('|---|---|---|---|---|---|---|---|');
for (const row of rows) {
  const rate = (time) => (time ? ((row.batch * 1000) / time).toFixed(1) : '-');
  const ratio = row.torch ? `${(row.torch / row.ours).toFixed(2)}x` : '-';
  console.log(
    `| ${row.name} | ${row.batch} | ${row.ours.toFixed(0)} | ${row.torch?.toFixed(0) ?? '-'} | ${rate(row.ours)} | ${rate(row.torch)} | ${ratio} | ${(row.loaded / 1000).toFixed(1)} |`,
  );
}
process.exitCode = rows.some((row) => row.torch && row.torch < row.ours) ? 1 : 0;
