// DeiT-Base at 224 px, batch 1, on ONNX Runtime: dense and pruned by 9.375 %, in every precision, as the
// engine gets it from timm's layout and as we lay it out. Interleaved; random weights.
// With the Python of PQV_PYTHON (or --python), which needs onnxruntime, also what its own quantizers make of the dense one.
//   node bench/int8.mjs [--rounds N] [--threads 1,2] [--only PART] [--python PATH]
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  describeMachine,
  initModel,
  onnxruntime,
  optimizeForOrt,
  quantizeDynamic,
  Tensor,
  toFloat16,
  writeOnnx,
} from 'pqv-mobile/node';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    threads: { type: 'string', default: '1,2' },
    only: { type: 'string', default: '' },
    python: { type: 'string', default: process.env.PQV_PYTHON },
  },
});
const rounds = Number(values.rounds);
const runsPerRound = 4;

const architecture = 'deit_base_patch16_224';
const dense = initModel({ architecture });
const pruned = initModel({ architecture, modelArgs: { embed_dim: 696 } });
const int8 = (graph) => quantizeDynamic(onnxruntime, graph);
const optimized = (graph) => optimizeForOrt(onnxruntime, graph);

const denseInt8 = await int8(dense);
const prunedInt8 = await int8(pruned);
const variants = [
  ['fp32 dense, as built', dense],
  ['fp32 dense', await optimized(dense)],
  ['fp32 pruned', await optimized(pruned)],
  ['fp16 dense', await optimized(await toFloat16(onnxruntime, dense))],
  ['fp16 weights dense', await optimized(await toFloat16(onnxruntime, dense, { compute: 'float32' }))],
  ['int8 dense, as built', denseInt8],
  ['int8 dense', await optimized(denseInt8)],
  ['int8 pruned, as built', prunedInt8],
  ['int8 pruned', await optimized(prunedInt8)],
];
const folder = mkdtempSync(join(tmpdir(), 'pqv-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
if (values.python) {
  const script = fileURLToPath(new URL('onnxruntime_quantize.py', import.meta.url));
  writeFileSync(join(folder, 'dense.onnx'), writeOnnx(dense));
  const made = spawnSync(values.python, [script, join(folder, 'dense.onnx'), folder], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(made.stderr);
  for (const name of made.stdout.trim().split('\n')) {
    variants.push([`onnxruntime's int8 dense, ${name}`, join(folder, `${name}.onnx`)]);
  }
}
const pixels = Tensor.float32(
  [1, 3, 224, 224],
  Float32Array.from({ length: 3 * 224 * 224 }, (_, i) => Math.sin(i)),
);

const { cpu, cores, processorClass, system, engine } = describeMachine(onnxruntime.name, 0);
console.log(`${engine} on ${cpu} (${processorClass}), ${cores} processors, ${system}`);

const quantile = (sorted, share) => sorted[Math.floor(share * (sorted.length - 1))];

for (const threads of values.threads.split(',').map(Number)) {
  const entries = [];
  for (const [name, graph] of variants.filter(([name]) => name.includes(values.only))) {
    entries.push({ name, session: await onnxruntime.load(graph, { threads }), times: [] });
  }
  for (let round = 0; round < rounds; round++) {
    for (const { session, times } of entries) {
      await session.run({ pixel_values: pixels });
      for (let run = 0; run < runsPerRound; run++) {
        const start = performance.now();
        await session.run({ pixel_values: pixels });
        times.push(performance.now() - start);
      }
    }
  }
  const rows = entries.map(({ name, times }) => {
    const sorted = times.sort((a, b) => a - b);
    return { model: name, median: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), best: sorted[0] };
  });
  console.log(`\n${threads} thread${threads > 1 ? 's' : ''}, ${rounds * runsPerRound} runs each, ms`);
  console.table(
    Object.fromEntries(
      rows.map(({ model, ...row }) => [
        model,
        {
          ...Object.fromEntries(Object.entries(row).map(([key, value]) => [key, Number(value.toFixed(1))])),
          'x the first': Number((rows[0].median / row.median).toFixed(2)),
        },
      ]),
    ),
  );
  for (const { session } of entries) await session.dispose();
}
