/**
 * Trains the small ViT of the demo on MNIST digits and writes it as a timm folder. Run after
 * `npm run build`:
 *
 *     node examples/train-mnist.mjs [--epochs N] [--patch-size N] [-o DIR] [--seed N] [--threads N]
 *
 * Interrupted with Ctrl-C, it goes on where it stopped when run again with --resume.
 */
import { rmSync } from 'node:fs';
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

const { values } = parseArgs({
  options: {
    epochs: { type: 'string', default: '60' },
    'patch-size': { type: 'string', default: '7' },
    output: { type: 'string', short: 'o', default: 'examples/mnist_vit' },
    seed: { type: 'string', default: '0' },
    threads: { type: 'string', default: '2' },
    resume: { type: 'boolean', default: false },
  },
});
const threads = Number(values.threads);
const seed = Number(values.seed);
const preprocessing = {
  inputSize: [1, 28, 28],
  mean: [0.1307],
  std: [0.3081],
  interpolation: 'bicubic',
  cropPct: 1,
  cropMode: 'center',
};
const digits = await openDataset('mnist');
const model = initModel(
  {
    architecture: 'vit_tiny_patch16_224',
    modelArgs: {
      img_size: 28,
      patch_size: Number(values['patch-size']),
      in_chans: 1,
      embed_dim: 96,
      depth: 4,
      num_heads: 3,
    },
    numClasses: 10,
    classNames: digits.classes,
    preprocessing,
  },
  seed,
);

const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
const work = `${values.output}.training`;
const progress = terminalProgress();
const { graph, history } = await finetune(onnxruntime, model, {
  data: digits,
  epochs: Number(values.epochs),
  batchSize: 64,
  lr: 1e-3,
  weightDecay: 0.05,
  warmup: 0.1,
  labelSmoothing: 0.1,
  clipNorm: 1,
  augment: { crop: { kind: 'shift', pixels: 2 } },
  seed,
  threads,
  progress,
  signal: stop.signal,
  checkpoints: fileCheckpoints(work),
  resume: values.resume,
});
for (const { epoch, loss, trainTop1 } of history.epochs) {
  console.log(
    `epoch ${epoch}: loss ${loss.toFixed(4)}, ${(trainTop1 * 100).toFixed(2)} % of training digits`,
  );
}
const { top1, samples } = await evaluate(onnxruntime, graph, {
  data: digits,
  batchSize: 64,
  threads,
  progress,
});
saveTimm(graph, values.output);
rmSync(work, { recursive: true, force: true });
console.log(`${(top1 * 100).toFixed(2)} % of ${samples} held-out digits, written to ${values.output}`);
