/**
 * The paper's experiment (arXiv 2408.08437, latency table) on this machine: dense FP32 PyTorch Lite against
 * dense and pruned int8 PyTorch Lite under each engine, against the files PyTorch itself writes of the same
 * models, and against the same models on ONNX Runtime. Random weights: latency does not depend on their
 * values. All files of one table are timed interleaved, each in a process of its own.
 *
 * PyTorch is timed twice. As it comes, it frees every activation and glibc gives the larger ones back to the
 * system; whether a process pays for their page faults again in each run (then its int8 models take two to four
 * times as long) is settled by chance when it starts. Tuned, glibc keeps the memory, and under qnnpack OpenMP's
 * idle threads sleep instead of starving QNNPACK's own.
 *
 *     npm run build && node bench/paper.mjs [--models deit_tiny_patch16_224,...] [--threads 1,2] [--runs N]
 *         [--ratios 0.09375,...] [--engines x86,...] [-o DIR]
 *
 * Needs a Python with torch and timm (PQV_PYTHON, a virtual environment, or the PATH's). Prints the tables and
 * writes paper.json, paper.md and paper.svg into DIR.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import {
  benchmark,
  columns,
  describeMachine,
  exportModelFile,
  findPython,
  initModel,
  onnxruntime,
  prune,
  quantizeDynamic,
  saveTimm,
  terminalProgress,
  toFloat16,
} from 'pqv-mobile/node';

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: 'deit_tiny_patch16_224,deit_small_patch16_224,deit_base_patch16_224' },
    threads: { type: 'string', default: '1,2' },
    runs: { type: 'string', default: '15' },
    ratios: { type: 'string', default: '0.09375,0.25' },
    engines: { type: 'string', default: 'x86,fbgemm,onednn,qnnpack' },
    output: { type: 'string', short: 'o', default: 'runs/paper' },
  },
});
const engines = values.engines.split(',');
const ratios = values.ratios.split(',').map(Number);
const keptMemory = {
  MALLOC_MMAP_THRESHOLD_: '4294967296',
  MALLOC_TRIM_THRESHOLD_: '4294967296',
  MALLOC_TOP_PAD_: '268435456',
};
const setups = {
  'as it comes': () => ({}),
  tuned: ({ runtime, settings }) => {
    if (runtime !== 'pytorch') return {};
    return settings.engine === 'qnnpack' ? { ...keptMemory, OMP_WAIT_POLICY: 'passive' } : keptMemory;
  },
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
  const add = (path, row) => {
    const runtime = path.endsWith('.onnx') ? 'ort' : 'pytorch';
    const bytes = statSync(path).size;
    files.push({ settings: {}, ...row, bytes, path, runtime, name: basename(path) });
  };
  const write = async (graph, format, row) => {
    const path = join(folder, `${files.length}.${format}`);
    await exportModelFile(onnxruntime, graph, format, path);
    add(path, row);
  };
  const int8 = (graph, backend) => quantizeDynamic(onnxruntime, graph, { backend });
  await write(dense, 'ptl', { shape: 'dense', precision: 'fp32', on: 'PyTorch Lite' });
  for (const [shape, graph] of graphs) {
    for (const engine of engines) {
      const row = { shape, precision: 'int8', on: `PyTorch Lite, ${engine}`, settings: { engine } };
      await write(await int8(graph, engine), 'ptl', row);
    }
  }
  for (const [i, [shape, graph]] of graphs.entries()) {
    const model = join(folder, `timm-${i}`);
    saveTimm(graph, model);
    const orders = (i === 0 ? ['fp32', 'fbgemm'] : ['fbgemm']).map((numbers) => ({
      numbers,
      path: join(folder, `pytorch-${i}-${numbers}.ptl`),
    }));
    pytorchWrites(model, orders);
    for (const { numbers, path } of orders) {
      const row = { shape, on: 'PyTorch Lite, its own file' };
      if (numbers === 'fp32') add(path, { ...row, precision: 'fp32' });
      else
        add(path, { ...row, precision: 'int8', on: `${row.on}, ${numbers}`, settings: { engine: numbers } });
    }
  }
  for (const [shape, graph] of graphs) {
    const row = { shape, on: 'ONNX Runtime' };
    await write(graph, 'onnx', { ...row, precision: 'fp32' });
    await write(await toFloat16(onnxruntime, graph), 'onnx', { ...row, precision: 'fp16' });
    await write(await int8(graph, 'mlas'), 'onnx', { ...row, precision: 'int8' });
  }
  return files;
}

function pytorchWrites(model, orders) {
  const script = fileURLToPath(new URL('./paper_pytorch.py', import.meta.url));
  const args = [script, model, ...orders.map(({ numbers, path }) => `${numbers}=${path}`)];
  const { status, stderr } = spawnSync(findPython('torch'), args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`PyTorch could not write its own files: ${stderr}`);
}

const heading = ['runtime', 'model', 'numbers', 'median ms', 'p95 ms', 'speedup', 'file MB', 'peak MB'];
const cells = (row) => [
  row.on,
  row.shape,
  row.precision,
  row.median.toFixed(1),
  row.p95.toFixed(1),
  `${row.speedup.toFixed(2)}x`,
  (row.bytes / 1e6).toFixed(1),
  (row.peakRssBytes / 1e6).toFixed(0),
];
const markdown = (head, rows) =>
  [head, head.map((_, i) => (i < 3 ? '---' : '--:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');

const results = [];
const tables = [];
for (const architecture of values.models.split(',')) {
  const folder = mkdtempSync(join(tmpdir(), 'pqv-paper-'));
  try {
    const files = await variants(architecture, folder);
    for (const threads of values.threads.split(',').map(Number)) {
      for (const [setup, environment] of Object.entries(setups)) {
        const timings = await benchmark(
          files.map((file) => ({ ...file, env: environment(file) })),
          {
            runtime: 'ort',
            runs: Number(values.runs),
            warmup: 3,
            threads,
            inputShape: [3, 224, 224],
            progress,
          },
        );
        const rows = files.map(({ shape, precision, on, bytes }, i) => ({
          model: architecture,
          threads,
          setup,
          shape,
          precision,
          on,
          engine: timings[i].engine,
          median: timings[i].median,
          p95: timings[i].p95,
          speedup: timings[0].median / timings[i].median,
          bytes,
          peakRssBytes: timings[i].peakRssBytes,
        }));
        results.push(...rows);
        const title = `${architecture}, batch 1, ${threads} thread${threads > 1 ? 's' : ''}, PyTorch ${setup}`;
        console.log(`\n${title}`);
        console.log(columns(heading, rows.map(cells)));
        tables.push(`## ${title}\n\n${markdown(heading, rows.map(cells))}\n`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A row for each variant; for each model and number of threads, its median and its speedup with PyTorch tuned. */
function summary(rows) {
  const tuned = rows.filter(({ setup }) => setup === 'tuned');
  const groups = [...new Set(tuned.map(({ model, threads }) => `${model} ${threads}`))];
  const variant = ({ on, shape, precision }) => `${on} | ${shape} | ${precision}`;
  return markdown(
    ['runtime', 'model', 'numbers', ...groups.map((group) => group.replace(/_patch.* /, ', threads: '))],
    [...new Set(tuned.map(variant))].map((name) => [
      name,
      ...groups.map((group) => {
        const row = tuned.find((r) => variant(r) === name && `${r.model} ${r.threads}` === group);
        return `${row.median.toFixed(1)} (${row.speedup.toFixed(2)}x)`;
      }),
    ]),
  );
}

mkdirSync(values.output, { recursive: true });
const machine = describeMachine(onnxruntime.name, Math.max(...results.map(({ threads }) => threads)));
const engineNames = [...new Set(results.map(({ engine }) => engine.split(' ').slice(0, 2).join(' ')))].join(
  ', ',
);
const measured = `${machine.cpu} (${machine.processorClass}), ${machine.system}; ${engineNames}; ${values.runs} timed runs of each`;
const document = { machine, measuredAt: new Date().toISOString(), runs: Number(values.runs), results };
writeFileSync(join(values.output, 'paper.json'), `${JSON.stringify(document, null, 1)}\n`);
writeFileSync(
  join(values.output, 'paper.md'),
  `# The paper's latency table\n\n${measured}.\n\n## Median ms (speedup), PyTorch tuned\n\n${summary(results)}\n\n${tables.join('\n')}`,
);
writeFileSync(join(values.output, 'paper.svg'), plot(results, machine));
console.log(`\n${measured}\n${values.output}: paper.json, paper.md, paper.svg`);

/** Speedup over the dense FP32 Lite model: a row for each variant, a panel beside the other for each model. */
function plot(rows, { cpu, processorClass }) {
  const most = Math.max(...rows.map(({ threads }) => threads));
  const shown = rows
    .filter(({ threads, setup }) => threads === most && setup === 'tuned')
    .map((row) => ({ ...row, label: `${row.on}, ${row.precision}, ${row.shape}` }));
  const { document: page } = parseHTML('<html><body></body></html>');
  const chart = Plot.plot({
    document: page,
    width: 320 + 260 * new Set(shown.map(({ model }) => model)).size,
    height: 560,
    marginLeft: 260,
    marginTop: 40,
    marginRight: 50,
    style: { background: 'white', fontFamily: 'sans-serif' },
    x: {
      label: `speedup over dense FP32 PyTorch Lite (${most} threads, PyTorch tuned, ${cpu}, ${processorClass})`,
      grid: true,
      insetRight: 25,
    },
    y: { label: null, domain: [...new Set(shown.map(({ label }) => label))] },
    fx: { label: null },
    color: { domain: ['PyTorch Lite', 'ONNX Runtime'], range: ['#8a94a6', '#2f6fde'] },
    marks: [
      Plot.barX(shown, { y: 'label', x: 'speedup', fx: 'model', fill: (d) => d.on.split(',')[0] }),
      Plot.text(shown, {
        y: 'label',
        x: 'speedup',
        fx: 'model',
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
