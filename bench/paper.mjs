/**
 * The paper's experiment (arXiv 2408.08437, latency table) on this machine: dense FP32 PyTorch Lite against
 * dense and pruned int8 PyTorch Lite under each engine, and against the same models on ONNX Runtime.
 * Random weights: latency does not depend on their values. All models of one row group are timed
 * interleaved, each in a process of its own.
 *
 *     npm run build && node bench/paper.mjs [--models deit_tiny_patch16_224,...] [--threads 1,2] [--runs N] [-o DIR]
 *
 * Needs a Python with torch (PQV_PYTHON, a virtual environment, or the PATH's). Writes paper.json and
 * paper.svg into DIR and prints the table.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { columns } from '../dist/cli/format.js';
import { terminalProgress } from '../dist/cli/progress-bar.js';
import { benchmark } from '../dist/measure/latency.node.js';
import { describeMachine } from '../dist/measure/machine.node.js';
import { exportModelFile } from '../dist/pipeline/export.node.js';
import { prune } from '../dist/prune/prune.js';
import { quantizeDynamic } from '../dist/quantize/dynamic.js';
import { toFloat16 } from '../dist/quantize/float16.js';
import { onnxruntime } from '../dist/runtime/onnxruntime.node.js';
import { initModel } from '../dist/zoo/model.js';

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: 'deit_tiny_patch16_224,deit_small_patch16_224,deit_base_patch16_224' },
    threads: { type: 'string', default: '1,2' },
    runs: { type: 'string', default: '15' },
    output: { type: 'string', short: 'o', default: 'runs/paper' },
  },
});
const engines = ['x86', 'fbgemm', 'onednn', 'qnnpack'];
const ratios = [0.09375, 0.25];
/**
 * PyTorch frees every activation, and glibc gives large ones back to the system: each run pays for their
 * page faults again, dearly on virtual machines. With these settings it keeps them.
 */
const keptMemory = {
  MALLOC_MMAP_THRESHOLD_: '4294967296',
  MALLOC_TRIM_THRESHOLD_: '4294967296',
  MALLOC_TOP_PAD_: '268435456',
};
const progress = terminalProgress();

/** Writes every variant of a model; resolves to the files with what is in them. */
async function variants(architecture, folder) {
  const dense = initModel({ architecture });
  const graphs = [['dense', dense]];
  for (const ratio of ratios) {
    const { graph } = await prune(onnxruntime, dense, { ratio, importance: 'l1', headDims: 'free' });
    graphs.push([`-${100 * ratio} %`, graph]);
  }
  const files = [];
  const write = async (graph, format, row) => {
    const path = join(folder, `${files.length}.${format}`);
    const { bytes } = await exportModelFile(onnxruntime, graph, format, path);
    const runtime = format === 'onnx' ? 'ort' : 'pytorch';
    files.push({ ...row, bytes, path, runtime, name: `${files.length}` });
  };
  await write(dense, 'ptl', { shape: 'dense', precision: 'fp32', on: 'PyTorch Lite' });
  const [baseline] = files;
  files.push({ ...baseline, on: 'PyTorch Lite, malloc kept', env: keptMemory, name: `${files.length}` });
  for (const [shape, graph] of graphs) {
    for (const engine of engines) {
      const quantized = await quantizeDynamic(onnxruntime, graph, { backend: engine });
      const row = { shape, precision: 'int8', on: `PyTorch Lite, ${engine}`, settings: { engine } };
      await write(quantized, 'ptl', row);
    }
  }
  for (const [shape, graph] of graphs) {
    const int8 = await quantizeDynamic(onnxruntime, graph, { backend: 'mlas' });
    const half = await toFloat16(onnxruntime, graph);
    await write(graph, 'onnx', { shape, precision: 'fp32', on: 'ONNX Runtime' });
    await write(half, 'onnx', { shape, precision: 'fp16', on: 'ONNX Runtime' });
    await write(int8, 'onnx', { shape, precision: 'int8', on: 'ONNX Runtime' });
  }
  return files;
}

const results = [];
for (const architecture of values.models.split(',')) {
  const folder = mkdtempSync(join(tmpdir(), 'pqv-paper-'));
  try {
    const files = await variants(architecture, folder);
    for (const threads of values.threads.split(',').map(Number)) {
      const timings = await benchmark(files, {
        runtime: 'ort',
        runs: Number(values.runs),
        warmup: 3,
        threads,
        inputShape: [3, 224, 224],
        progress,
      });
      const baseline = timings[0].median;
      const rows = files.map(({ shape, precision, on, bytes }, i) => ({
        model: architecture,
        threads,
        shape,
        precision,
        on,
        engine: timings[i].engine,
        median: timings[i].median,
        p95: timings[i].p95,
        speedup: baseline / timings[i].median,
        bytes,
        peakRssBytes: timings[i].peakRssBytes,
      }));
      results.push(...rows);
      console.log(`\n${architecture}, batch 1, ${threads} thread${threads > 1 ? 's' : ''}`);
      console.log(
        columns(
          ['runtime', 'model', 'numbers', 'median ms', 'p95 ms', 'speedup', 'file MB', 'peak MB'],
          rows.map((row) => [
            row.on,
            row.shape,
            row.precision,
            row.median.toFixed(1),
            row.p95.toFixed(1),
            `${row.speedup.toFixed(2)}x`,
            (row.bytes / 1e6).toFixed(1),
            (row.peakRssBytes / 1e6).toFixed(0),
          ]),
        ),
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

mkdirSync(values.output, { recursive: true });
const machine = describeMachine(onnxruntime.name, Math.max(...results.map(({ threads }) => threads)));
const document = { machine, measuredAt: new Date().toISOString(), runs: Number(values.runs), results };
writeFileSync(join(values.output, 'paper.json'), `${JSON.stringify(document, null, 1)}\n`);
writeFileSync(join(values.output, 'paper.svg'), plot(results, machine));
console.log(`\n${machine.cpu}, ${machine.system}; ${join(values.output, 'paper.json')}, paper.svg`);

/** Speedup over the dense FP32 Lite model: a row for each variant, a panel for each model. */
function plot(rows, { cpu }) {
  const most = Math.max(...rows.map(({ threads }) => threads));
  const shown = rows
    .filter(({ threads }) => threads === most)
    .map((row) => ({ ...row, label: `${row.on}, ${row.precision}, ${row.shape}` }));
  const { document: page } = parseHTML('<html><body></body></html>');
  const chart = Plot.plot({
    document: page,
    width: 860,
    height: 190 * new Set(shown.map(({ model }) => model)).size + 260,
    marginLeft: 230,
    marginRight: 50,
    style: { background: 'white', fontFamily: 'sans-serif' },
    caption: undefined,
    x: { label: `speedup over dense FP32 PyTorch Lite (${most} threads, ${cpu})`, grid: true },
    y: { label: null, domain: [...new Set(shown.map(({ label }) => label))] },
    fy: { label: null },
    color: { domain: ['PyTorch Lite', 'ONNX Runtime'], range: ['#8a94a6', '#2f6fde'] },
    marks: [
      Plot.barX(shown, { y: 'label', x: 'speedup', fy: 'model', fill: (d) => d.on.split(',')[0] }),
      Plot.text(shown, {
        y: 'label',
        x: 'speedup',
        fy: 'model',
        text: (d) => `${d.speedup.toFixed(1)}x`,
        dx: 4,
        textAnchor: 'start',
      }),
      Plot.ruleX([1], { stroke: '#c0392b', strokeDasharray: '3 3' }),
    ],
  });
  chart.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return chart.outerHTML;
}
