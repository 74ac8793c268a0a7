/**
 * What pruning and lower precision cost in accuracy, on a trained model and its held-out images:
 * (a) the dense model in fp16 and in int8, safe and with PyTorch's numbers for every backend, dynamic and static;
 * (b) every importance at every ratio: top-1 after pruning, and after a short finetuning.
 *
 *     npm run build && node bench/accuracy.mjs [--model DIR] [--data DATA] [--ratios 0.09375,0.25] \
 *         [--epochs 2] [--calibration 256] [--samples N] [--threads N] [--seed N] [--json FILE]
 *
 * An empty `--ratios` leaves (b) out. Exits with 1 when an int8 form of safe weights is more
 * than 0.1 point off FP32, or FP16 more than 0.05; PyTorch's weights may overflow on the processor it runs on.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  columns,
  compareBackends,
  describeMachine,
  evaluate,
  finetune,
  formatBytes,
  formatPercent,
  formatPoints,
  importances,
  loadModel,
  modelInfo,
  onnxruntime,
  openDataset,
  parameterCount,
  prune,
  terminalProgress,
  weightBytes,
  weightKinds,
} from 'pqv-mobile/node';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'examples/mnist_vit' },
    data: { type: 'string', default: 'mnist' },
    ratios: { type: 'string', default: '0.09375,0.25' },
    epochs: { type: 'string', default: '2' },
    calibration: { type: 'string', default: '256' },
    samples: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    seed: { type: 'string', default: '0' },
    json: { type: 'string' },
  },
});
const evalSamples = values.samples ? Number(values.samples) : undefined;
/** How far top-1 may be from FP32's, as shares. */
const allowed = { int8: 0.001, fp16: 0.0005 };

const threads = Number(values.threads);
const surroundings = { threads, seed: Number(values.seed), progress: terminalProgress() };
const dense = await loadModel(values.model);
const data = await openDataset(values.data);
const folder = mkdtempSync(join(tmpdir(), 'pqv-accuracy-'));

const measure = (graph) => evaluate(onnxruntime, graph, { data, threads, limit: evalSamples });

async function pruned(importance, ratio) {
  const { graph } = await prune(onnxruntime, dense, { ...surroundings, importance, ratio, data });
  const before = await measure(graph);
  const tuned = await finetune(onnxruntime, graph, { ...surroundings, epochs: Number(values.epochs), data });
  const after = await measure(tuned.graph);
  const parameters = parameterCount(graph);
  return { importance, ratio, parameters, pruned: before.top1, finetuned: after.top1 };
}

try {
  const reference = await measure(dense);
  const context = { ...surroundings, engine: onnxruntime };
  const { preprocessing } = modelInfo(dense);
  const forms = [];
  for (const weights of weightKinds) {
    const choices = { weights, assumeVnni: false, observer: 'mse', samples: Number(values.calibration) };
    const lower = await compareBackends(context, dense, {
      data: { dataset: data, preprocessing },
      choices,
      evalSamples,
      folder,
    });
    for (const form of lower.filter(({ dtype }) => dtype === 'int8' || weights === 'safe')) {
      const difference = form.top1 - reference.top1;
      const passed = Math.abs(difference) <= allowed[form.dtype] + 1e-9;
      forms.push({ ...form, weights: form.dtype === 'int8' ? weights : undefined, difference, passed });
    }
  }
  console.log(`${values.model}: ${reference.samples} held-out images of ${values.data}\n`);
  console.log(
    columns(
      ['precision', 'weights', 'scheme', 'backend', 'top-1', 'points', 'size', ''],
      [
        ['fp32', '', '', '', formatPercent(reference.top1), '', formatBytes(weightBytes(dense)), ''],
        ...forms.map(
          ({ dtype, weights = '', scheme = '', backend = '', top1, difference, bytes, passed }) => [
            dtype,
            weights,
            scheme,
            backend,
            formatPercent(top1),
            formatPoints(difference),
            formatBytes(bytes),
            passed ? 'ok' : 'FAILED',
          ],
        ),
      ],
    ),
  );
  const importanceRows = [];
  for (const ratio of values.ratios.split(',').filter(Boolean).map(Number)) {
    for (const importance of importances) importanceRows.push(await pruned(importance, ratio));
  }
  if (importanceRows.length) {
    console.log(
      `\n${columns(
        ['importance', 'ratio', 'parameters', 'pruned', 'finetuned', 'points'],
        importanceRows.map(({ importance, ratio, parameters, pruned, finetuned }) => [
          importance,
          `${100 * ratio} %`,
          parameters.toLocaleString('en'),
          formatPercent(pruned),
          formatPercent(finetuned),
          formatPoints(finetuned - reference.top1),
        ]),
      )}`,
    );
  }
  if (values.json) {
    const machine = describeMachine(onnxruntime.name, threads);
    const fp32 = { top1: reference.top1, samples: reference.samples, bytes: weightBytes(dense) };
    const result = {
      model: values.model,
      data: values.data,
      machine,
      fp32,
      forms,
      importance: importanceRows,
    };
    writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  if (!forms.every(({ weights, passed }) => passed || weights === 'torch')) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
