/**
 * What each method of quantization brings: int8 (dynamic, static), W4, W4A8 and W4A4, each plain, with scales migrated, biases
 * corrected, rounding learned, and with several of them, on a trained classifier. Calibration images differ by seed; given are means over the
 * seeds (what looks at no images is run once).
 *
 *     npm run build && node bench/methods.mjs [--model DIR] [--outliers norms|stream] [--data DATA] [--seeds 0,1,2] \
 *         [--samples N] [--only int8-dynamic,W4A4] [--methods plain,learned] [--backends] [--threads N] [--json FILE]
 *
 * `--outliers norms`: one channel of each LayerNorm times 60, undone in the weight that reads it, which is the same function.
 * `--outliers stream`: one channel of the residual stream times 60 (patch embedding, positions, the rows of every layer that writes to
 * it), another function, so that only the agreement with itself in FP32 tells something.
 * `--backends` compares, bit for bit, what the backends ask for. With `--json` what is in the file already is not run again.
 *
 * The pruned model of docs/quantization.md:
 *     pqv prune examples/cifar10_vit -o pruned --ratio 0.25 --importance taylor --compensate ridge --data cifar10
 *     pqv finetune pruned -o tuned --preset quick --epochs 1 --limit 12800 --data cifar10
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import {
  backends,
  batches,
  columns,
  describeMachine,
  loadModel,
  modelInfo,
  onnxruntime,
  openDataset,
  quantize,
  Tensor,
  weightKinds,
} from 'pqv-mobile/node';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'examples/cifar10_vit' },
    outliers: { type: 'string' },
    data: { type: 'string', default: 'mnist' },
    seeds: { type: 'string', default: '0,1,2' },
    samples: { type: 'string' },
    only: { type: 'string' },
    methods: { type: 'string' },
    backends: { type: 'boolean', default: false },
    threads: { type: 'string', default: String(availableParallelism()) },
    json: { type: 'string' },
  },
});

const migrate = true;
const correctBias = true;
const learnRounding = true;
const methods = {
  plain: {},
  migrated: { migrate },
  bias: { correctBias },
  'migrated+bias': { migrate, correctBias },
  learned: { learnRounding },
  'learned+bias': { learnRounding, correctBias },
  all: { migrate, correctBias, learnRounding },
};
const numbers = {
  'int8-dynamic': { dtype: 'int8' },
  'int8-static': { dtype: 'int8', scheme: 'static' },
  W4: { dtype: 'int4' },
  W4A8: { dtype: 'int4', activations: 'int8' },
  W4A4: { dtype: 'int4', activations: 'int4' },
};
const looksAtImages = (options) =>
  Object.keys(options).some((key) => ['migrate', 'correctBias', 'learnRounding', 'scheme'].includes(key));

const threads = Number(values.threads);
const engine = {
  name: onnxruntime.name,
  load: (model, options) => onnxruntime.load(model, { threads, ...options }),
};
const data = await openDataset(values.data);
const model = await loadModel(values.model);
if (values.outliers) addOutliers(model, values.outliers);
const { preprocessing } = modelInfo(model);
const heldOut = [];
const limit = values.samples ? Number(values.samples) : undefined;
for await (const batch of batches(data.val, preprocessing, { engine, batchSize: 32, limit }))
  heldOut.push(batch);
const labels = heldOut.flatMap((batch) => batch.labels.integers);

/** Multiplies channels in a float32 model, in place. */
function addOutliers(graph, kind) {
  const [channel, factor] = [5, 60];
  const constants = [...graph.constants.values()].filter(({ dtype }) => dtype === 'float32');
  const scale = (value, by, isScaled) => {
    const { shape, floats } = value.tensor;
    const made = floats.map((number, i) => (isScaled(i, shape) ? number * by : number));
    graph.setConstant(value, Tensor.float32(shape, made));
  };
  const column = (i, shape) => i % shape.at(-1) === channel;
  const row = (i, [, ...others]) => Math.floor(i / others.reduce((a, b) => a * b, 1)) === channel;
  const named = (name) => constants.find((value) => value.name === name);
  for (const value of constants) {
    const [, block, norm] = /^blocks\.(\d+)\.norm([12])\.weight$/.exec(value.name) ?? [];
    if (kind === 'norms' && (block || value.name === 'fc_norm.weight' || value.name === 'norm.weight')) {
      const reader = block ? `blocks.${block}.${norm === '1' ? 'attn.qkv' : 'mlp.fc1'}` : 'head';
      scale(value, factor, column);
      scale(named(value.name.replace(/weight$/, 'bias')), factor, column);
      scale(named(`${reader}.weight`), 1 / factor, column);
    }
    if (kind === 'stream') {
      if (value.name === 'pos_embed') scale(value, factor, column);
      const writes = /^(patch_embed\.proj|blocks\.\d+\.(attn\.proj|mlp\.fc2))\.(weight|bias)$/.test(
        value.name,
      );
      if (writes) scale(value, factor, row);
    }
  }
}

/** The class of each held-out image, and the logits. */
async function predict(graph) {
  const session = await engine.load(graph);
  const [input, output] = [graph.inputs[0].name, graph.outputs[0].name];
  const logits = [];
  for (const { pixels } of heldOut) logits.push((await session.run({ [input]: pixels }))[output]);
  await session.dispose();
  const classes = logits[0].shape[1];
  const all = Float32Array.from(logits.flatMap(({ floats }) => [...floats]));
  const predicted = labels.map((_, i) => {
    const row = all.subarray(i * classes, (i + 1) * classes);
    return row.indexOf(Math.max(...row));
  });
  return { predicted, all };
}

const reference = await predict(model);
const share = (predicted, wanted) =>
  predicted.filter((found, i) => found === wanted[i]).length / wanted.length;
const top1 = share(reference.predicted, labels);
const results =
  values.json && existsSync(values.json) ? JSON.parse(readFileSync(values.json, 'utf8')).results : [];
const keep = () => {
  if (!values.json) return;
  const { model: of, outliers = null, data: on } = values;
  const machine = describeMachine(onnxruntime.name, threads);
  const what = { model: of, outliers, data: on, images: labels.length, machine, fp32: { top1 } };
  writeFileSync(values.json, `${JSON.stringify({ ...what, results }, null, 1)}\n`);
};

async function measure(form, method, seed) {
  const known = results.find((row) => row.form === form && row.method === method && row.seed === seed);
  if (known) return known;
  const quantized = await quantize(engine, model, {
    ...numbers[form],
    ...methods[method],
    data,
    seed,
    force: true,
  });
  const { predicted, all } = await predict(quantized);
  let [off, squares] = [0, 0];
  for (const [i, value] of reference.all.entries()) {
    off += (all[i] - value) ** 2;
    squares += value ** 2;
  }
  const found = {
    ...{ form, method, seed, top1: share(predicted, labels) },
    ...{ agreement: share(predicted, reference.predicted), off: Math.sqrt(off / squares) },
  };
  results.push(found);
  keep();
  console.error(form, method, seed, found.top1.toFixed(4), found.agreement.toFixed(4), found.off.toFixed(4));
  return found;
}

const percent = (value) => (100 * value).toFixed(2);
const mean = (rows, of) => rows.reduce((sum, row) => sum + row[of], 0) / rows.length;
const chosen = (table, names) => (names ? names.split(',').map((name) => name.trim()) : Object.keys(table));
const rows = [];
for (const form of chosen(numbers, values.only)) {
  for (const method of chosen(methods, values.methods)) {
    const seeds = looksAtImages({ ...numbers[form], ...methods[method] })
      ? values.seeds.split(',').map(Number)
      : [0];
    const found = [];
    for (const seed of seeds) found.push(await measure(form, method, seed));
    const spread = found.map((row) => row.top1);
    rows.push([
      form,
      method,
      percent(mean(found, 'top1')),
      found.length > 1 ? `${percent(Math.min(...spread))} to ${percent(Math.max(...spread))}` : '',
      (100 * (mean(found, 'top1') - top1)).toFixed(2),
      percent(mean(found, 'agreement')),
      `${percent(mean(found, 'off'))} %`,
    ]);
  }
}
console.log(
  `${values.model}${values.outliers ? `, outliers in ${values.outliers}` : ''}: ${labels.length} held-out images of ${values.data}, FP32 ${percent(top1)} %\n`,
);
console.log(columns(['numbers', 'method', 'top-1', 'by seed', 'points', 'agreement', 'logits off'], rows));

if (values.backends) {
  const textOf = (graph) =>
    [...graph.constants.values()]
      .map(
        ({ name, tensor }) =>
          `${name} ${tensor.dtype} ${tensor.shape} ${Buffer.from(tensor.bytes).toString('base64')}`,
      )
      .concat(
        graph.nodes.map(
          (node) => `${node.op} ${node.inputs.map((value) => value?.name)} ${[...node.attributes.keys()]}`,
        ),
      )
      .join('\n');
  const few = { samples: 32, learnSamples: 32, learnSteps: 10 };
  const table = [];
  for (const weights of weightKinds) {
    for (const form of ['int8-dynamic', 'int8-static']) {
      const seen = new Map();
      for (const backend of Object.keys(backends)) {
        const options = { ...numbers[form], ...(weights === 'safe' ? methods.all : {}), ...few };
        const text = textOf(
          await quantize(engine, model, { ...options, weights, backend, data, force: true }),
        );
        seen.set(text, [...(seen.get(text) ?? []), backend]);
      }
      table.push([weights, form, [...seen.values()].map((names) => names.join(' = ')).join('; ')]);
    }
  }
  console.log(`\n${columns(['weights', 'numbers', 'the same, bit for bit'], table)}`);
}
keep();
