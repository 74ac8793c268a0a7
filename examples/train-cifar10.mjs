/**
 * Trains the small models that natural images are judged by, on CIFAR-10 as the Hugging Face Hub lays it out
 * (`plain_text/train-*.parquet`, `test-*.parquet`), and writes it as a timm folder. Run after `npm run build`:
 *
 *     node examples/train-cifar10.mjs --data FOLDER [-o DIR] [--resume] [--threads N]
 *         [--evaluate] [--recipe FILE] [--work DIR] [--checkpoint-every SECONDS]
 *
 * What it trains and how stands in the recipe, by default `examples/cifar10_vit/recipe.json`; the model with convolutions
 * is `--recipe examples/cifar10_conv/recipe.json -o examples/cifar10_conv`. A checkpoint is written at least every
 * five minutes in `DIR.training`: interrupted with Ctrl-C, or not so gently, it goes on when run again with --resume and ends
 * with the same weights. With --evaluate top-1 on the test images is measured after every epoch, to be
 * looked at, not to choose by.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  evaluate,
  fileCheckpoints,
  finetune,
  initModel,
  onnxruntime,
  openDataset,
  saveTimm,
  terminalProgress,
} from 'pqv-mobile/node';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    recipe: { type: 'string', default: here('cifar10_vit/recipe.json') },
    output: { type: 'string', short: 'o', default: here('cifar10_vit') },
    work: { type: 'string' },
    threads: { type: 'string', default: '2' },
    'checkpoint-every': { type: 'string', default: '300' },
    evaluate: { type: 'boolean', default: false },
    resume: { type: 'boolean', default: false },
  },
});
if (!values.data) throw new Error('give --data FOLDER, the data set cifar10 of the Hugging Face Hub');
const threads = Number(values.threads);
const work = values.work ?? `${values.output}.training`;
const { model: spec, training } = JSON.parse(readFileSync(values.recipe, 'utf8'));
const data = await openDataset(values.data);
const model = initModel(
  { ...spec, numClasses: data.classes.length, classNames: data.classes },
  training.seed,
);

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
const progress = terminalProgress();
const started = performance.now();
const { graph, history } = await finetune(onnxruntime, model, {
  ...training,
  data,
  evaluate: values.evaluate,
  threads,
  progress,
  signal: stop.signal,
  checkpoints: fileCheckpoints(work),
  checkpointEvery: Number(values['checkpoint-every']),
  resume: values.resume,
});
const percent = (share) => (share === undefined ? '-' : (share * 100).toFixed(2));
console.log('| epoch | training loss | training top-1 % | test top-1 % |\n|---|---|---|---|');
for (const { epoch, loss, trainTop1, top1 } of history.epochs) {
  console.log(`| ${epoch} | ${loss.toFixed(4)} | ${percent(trainTop1)} | ${percent(top1)} |`);
}
const { top1, samples } = await evaluate(onnxruntime, graph, { data, batchSize: 64, threads, progress });
saveTimm(graph, values.output);
const hours = (performance.now() - started) / 3.6e6;
console.log(
  `${percent(top1)} % of ${samples} test images, written to ${values.output} (${hours.toFixed(1)} h in this run)`,
);
