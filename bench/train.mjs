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
import { spawn, spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Builder, countMacs, Graph, initModel, linears, onnxruntime, Tensor, Trainer } from 'pqv-mobile/node';

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
    product: await largestProduct(model, batch),
    macs: countMacs(model) * batch,
    async step() {
      const begin = performance.now();
      await trainer.train(input, 1e-4, 0.05);
      return performance.now() - begin;
    },
    dispose: () => trainer.dispose(),
  };
}

/** Products a session computes in one run, so that what goes in and out of it does not count. */
const pairs = 4;

/** The product of the Linear with the most weights and the one back, on the rows of a batch. */
async function largestProduct(model, batch) {
  const sizeOf = ({ weight }) => weight.shape[0] * weight.shape[1];
  const blocks = linears(model).filter(({ weight }) => weight.name.startsWith('blocks.'));
  const [{ weight, output }] = blocks.toSorted((a, b) => sizeOf(b) - sizeOf(a));
  const [n, k] = weight.shape;
  const rows = batch * output.shape[1];
  const graph = new Graph();
  const noise = (...shape) =>
    Tensor.float32(
      shape,
      Float32Array.from({ length: shape[0] * shape[1] }, () => (Math.random() - 0.5) / Math.sqrt(shape[0])),
    );
  const x = graph.addInput('x', 'float32', [rows, k]);
  const b = new Builder(graph);
  const up = graph.addConstant('up', noise(k, n));
  const down = graph.addConstant('down', noise(n, k));
  let y = x;
  for (let i = 0; i < pairs; i++) y = b.op('MatMul', [b.op('MatMul', [y, up]), down]);
  graph.outputs.push(y);
  const session = await onnxruntime.load(graph, { threads });
  const feeds = { x: noise(rows, k) };
  return {
    /** Multiply-accumulates a millisecond. */
    async rate() {
      let begin = performance.now();
      let done = -3;
      while (done < 3 || performance.now() - begin < 300) {
        await session.run(feeds);
        if (++done === 0) begin = performance.now();
      }
      return (done * 2 * pairs * rows * k * n) / (performance.now() - begin);
    },
    dispose: () => session.dispose(),
  };
}

const rows = [];
for (const entry of cases.filter(({ name }) => !values.only || name.includes(values.only))) {
  const torch = judge(values.python);
  const version =
    torch &&
    (await torch.ask(
      `load ${entry.architecture ?? entry.name} ${entry.batch} ${threads} ${JSON.stringify(entry.modelArgs ?? {})}`,
    ));
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
    version,
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
