/**
 * Time of a whole training step (forward, backward, clipping, AdamW) against PyTorch eager and against the floor, step by
 * step in turns on the same machine. The floor is three forward passes at the rate at which this engine
 * multiplies the model's largest matrix (of an MLP). After `npm run build`:
 *
 *     node bench/train.mjs --python PATH [--runs N] [--threads N] [--only NAME]
 *
 * The Python (default: $PQV_PYTHON, else python3) needs torch and timm; without one only our side is
 * timed. Exits with 1 when ours is slower.
 */
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countMacs, initModel, onnxruntime, Tensor, Trainer } from 'pqv-mobile/node';
import { judge } from './judge.mjs';
import { largestProduct } from './product.mjs';

/** That of `examples/cifar10_vit`. */
const cifar10 = {
  ...{ img_size: 32, patch_size: 4, embed_dim: 128, depth: 6, num_heads: 4, mlp_ratio: 3.75 },
  ...{ class_token: false, global_pool: 'avg', num_classes: 10 },
};
const cases = [
  { name: 'cifar10_vit', architecture: 'vit_tiny_patch16_224', modelArgs: cifar10, batch: 64 },
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

async function ours({ name, batch, architecture = name, modelArgs }) {
  const model = initModel({ architecture, modelArgs });
  const start = performance.now();
  const trainer = await Trainer.create(onnxruntime, model, { threads, clipNorm: 1 });
  const loaded = performance.now() - start;
  const [, channels, height, width] = model.inputs[0].shape;
  const shape = [batch, channels, height, width];
  const pixels = Tensor.float32(
    shape,
    Float32Array.from({ length: batch * channels * height * width }, () => Math.random() * 2 - 1),
  );
  const targets = new Float32Array(batch * trainer.classes);
  for (let i = 0; i < batch; i++) targets[i * trainer.classes + (i % trainer.classes)] = 1;
  const input = { pixels, targets: Tensor.float32([batch, trainer.classes], targets) };
  return {
    loaded,
    product: await largestProduct(model, batch, threads),
    macs: countMacs(model) * batch,
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
  const architecture = entry.architecture ?? entry.name;
  const script = fileURLToPath(new URL('train_torch.py', import.meta.url));
  const load = `load ${architecture} ${entry.batch} ${threads} ${JSON.stringify(entry.modelArgs ?? {})}`;
  const torch = await judge(values.python, script, [], load);
  const trainer = await ours(entry);
  const times = { ours: [], torch: [], rates: [] };
  for (let i = -2; i < runs; i++) {
    const mine = await trainer.step();
    await sleep(pause);
    const theirs = torch && Number(await torch.ask('step'));
    await sleep(pause);
    const rate = await trainer.product.rate();
    await sleep(pause);
    if (i < 0) continue;
    times.rates.push(rate);
    times.ours.push(mine);
    if (torch) times.torch.push(theirs);
  }
  torch?.close();
  await trainer.dispose();
  await trainer.product.dispose();
  const rate = median(times.rates);
  rows.push({
    ...entry,
    version: torch?.version,
    loaded: trainer.loaded,
    rate,
    floor: (3 * trainer.macs) / rate,
    ours: median(times.ours),
    torch: median(times.torch),
  });
}

console.log(`${cpus()[0].model}, ${threads} threads, median of ${runs} steps, float32`);
console.log(`${onnxruntime.name}${rows[0].version ? `, PyTorch ${rows[0].version} eager` : ''}\n`);
console.log(
  '| model | batch | ours ms | PyTorch ms | ours images/s | PyTorch images/s | ratio | GMAC/s | floor ms | over it | graph load s |',
);
console.log('|---|---|---|---|---|---|---|---|---|---|---|');
for (const row of rows) {
  const rate = (time) => (time ? ((row.batch * 1000) / time).toFixed(1) : '-');
  const ratio = row.torch ? `${(row.torch / row.ours).toFixed(2)}x` : '-';
  console.log(
    `| ${row.name} | ${row.batch} | ${row.ours.toFixed(0)} | ${row.torch?.toFixed(0) ?? '-'} | ${rate(row.ours)} | ${rate(row.torch)} | ${ratio} | ${(row.rate / 1e6).toFixed(0)} | ${row.floor.toFixed(0)} | ${(row.ours / row.floor).toFixed(2)}x | ${(row.loaded / 1000).toFixed(1)} |`,
  );
}
process.exitCode = rows.some((row) => row.torch && row.torch < row.ours) ? 1 : 0;
