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
import { columns } from '../dist/cli/format.js';
import { terminalProgress } from '../dist/cli/progress-bar.js';
import { validated } from '../dist/common/options.js';
import { evaluate } from '../dist/measure/accuracy.js';
import { describeMachine } from '../dist/measure/machine.node.js';
import { weightBytes } from '../dist/onnx/write.js';
import { compareBackends } from '../dist/pipeline/compare-backends.node.js';
import { localContext, openModelData } from '../dist/pipeline/context.node.js';
import { finetuneStage } from '../dist/pipeline/stages/finetune.node.js';
import { pruneStage } from '../dist/pipeline/stages/prune.node.js';
import { importances } from '../dist/prune/importance.js';
import { weightKinds } from '../dist/quantize/backends.js';
import { formatBytes, formatPercent, formatPoints } from '../dist/report/format.js';
import { parameterCount } from '../dist/zoo/describe.js';
import { loadModel } from '../dist/zoo/load.node.js';

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
const { data } = values;
const evalSamples = values.samples ? Number(values.samples) : undefined;
/** How far top-1 may be from FP32's, as shares. */
const allowed = { int8: 0.001, fp16: 0.0005 };

const context = localContext({
  threads: Number(values.threads),
  seed: Number(values.seed),
  progress: terminalProgress(),
});
const dense = await loadModel(values.model);
const modelData = await openModelData(dense, data);
const { dataset, preprocessing } = modelData;
const folder = mkdtempSync(join(tmpdir(), 'pqv-accuracy-'));

function measure(graph) {
  return evaluate(context.engine, graph, dataset.val, {
    preprocessing,
    batchSize: 32,
    threads: context.threads,
    limit: evalSamples,
  });
}

async function pruned(importance, ratio) {
  const run = (stage, graph, options) =>
    stage.run({ context, graph, options: validated(stage.options, options), data: modelData, folder });
  const { graph } = await run(pruneStage, dense, { importance, ratio });
  const before = await measure(graph);
  const tuned = await run(finetuneStage, graph, { epochs: Number(values.epochs) });
  const after = await measure(tuned.graph);
  const parameters = parameterCount(graph);
  return { importance, ratio, parameters, pruned: before.top1, finetuned: after.top1 };
}

try {
  const reference = await measure(dense);
  const forms = [];
  for (const weights of weightKinds) {
    const choices = { weights, assumeVnni: false, observer: 'mse', samples: Number(values.calibration) };
    const lower = await compareBackends(context, dense, { data: modelData, choices, evalSamples, folder });
    for (const form of lower.filter(({ dtype }) => dtype === 'int8' || weights === 'safe')) {
      const difference = form.top1 - reference.top1;
      const passed = Math.abs(difference) <= allowed[form.dtype] + 1e-9;
      forms.push({ ...form, weights: form.dtype === 'int8' ? weights : undefined, difference, passed });
    }
  }
  console.log(`${values.model}: ${reference.samples} held-out images of ${data}\n`);
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
    const machine = describeMachine(context.engine.name, context.threads);
    const fp32 = { top1: reference.top1, samples: reference.samples, bytes: weightBytes(dense) };
    const result = { model: values.model, data, machine, fp32, forms, importance: importanceRows };
    writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  if (!forms.every(({ weights, passed }) => passed || weights === 'torch')) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
