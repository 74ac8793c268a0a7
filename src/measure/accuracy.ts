import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Split } from '../dataset/dataset.ts';
import { batches } from '../dataset/loader.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { argMax, loadClassifier } from './classifier.ts';

export interface EvaluateOptions {
  /** How images become inputs; the model's own (`modelInfo(graph).preprocessing`). */
  preprocessing: Preprocessing;
  batchSize: number;
  /** Measure on this many images, evenly spread over the split; default all. */
  limit?: number;
  threads?: number;
  /** Predictions to keep as examples: this many evenly spread ones, and a third as many of the surest mistakes. Default 0. */
  examples?: number;
  progress?: Progress;
  /** Name of the progress bar. */
  label?: string;
  /** Stops between batches, rejecting with its reason. */
  signal?: AbortSignal;
}

/** What the model said about one image. */
export interface Prediction {
  readonly id: string;
  /** Class index. */
  readonly label: number;
  readonly predicted: number;
  /** Of the predicted class, by softmax. */
  readonly probability: number;
}

export interface Accuracy {
  /** Share of images whose label has the highest logit. */
  readonly top1: number;
  /** Share whose label is among the five highest logits (all of them when there are fewer classes). */
  readonly top5: number;
  /** Mean cross-entropy in nats. */
  readonly loss: number;
  /** Images measured. */
  readonly samples: number;
  /** From file to prediction: decoding and preprocessing included. */
  readonly imagesPerSecond: number;
  /** Images left out because they can't be read. */
  readonly skipped: number;
  readonly examples: readonly Prediction[];
  /** Surest first. */
  readonly mistakes: readonly Prediction[];
}

/**
 * Accuracy of a classifier on labelled images.
 * @param model a graph, or what `Engine.load` takes: bytes or a path
 * @throws UserError when a label is outside the model's classes, or too many images can't be read
 */
export async function evaluate(
  engine: Engine,
  model: Graph | Uint8Array | string,
  split: Split,
  options: EvaluateOptions,
): Promise<Accuracy> {
  const { preprocessing, batchSize, examples = 0, progress = silent, signal } = options;
  const loader = batches(split, preprocessing, {
    engine,
    batchSize,
    progress,
    limit: options.limit,
  });
  const classifier = await loadClassifier(engine, model, options.threads);
  const task = progress.task(options.label ?? 'evaluate', loader.images, 'images');
  const score = new Score(examples, loader.images);
  const start = performance.now();
  try {
    for await (const { pixels, labels, ids } of loader) {
      signal?.throwIfAborted();
      const logits = await classifier.logits(pixels);
      score.add(logits.floats, logits.shape[1]!, labels.integers, ids);
      task.update(score.samples + loader.unreadable.length, {
        'top-1': `${(score.top1 * 100).toFixed(2)} %`,
      });
    }
  } finally {
    task.done();
    await classifier.dispose();
  }
  const seconds = (performance.now() - start) / 1000;
  return {
    top1: score.top1,
    top5: score.top5,
    loss: score.loss,
    samples: score.samples,
    imagesPerSecond: score.samples / seconds,
    skipped: loader.unreadable.length,
    examples: score.examples,
    mistakes: score.mistakes,
  };
}

/** Counts over the logits of one batch after the other. */
export class Score {
  samples = 0;
  readonly examples: Prediction[] = [];
  #hits1 = 0;
  #hits5 = 0;
  #loss = 0;
  readonly #wanted: number;
  readonly #expected: number;
  #mistakes: Prediction[] = [];

  /** @param wanted examples to keep @param expected images that will come */
  constructor(wanted: number, expected: number) {
    this.#wanted = Math.min(wanted, expected);
    this.#expected = expected;
  }

  get top1(): number {
    return this.#hits1 / this.samples;
  }

  get top5(): number {
    return this.#hits5 / this.samples;
  }

  get loss(): number {
    return this.#loss / this.samples;
  }

  /** The surest mistakes, surest first. */
  get mistakes(): readonly Prediction[] {
    return this.#mistakes;
  }

  /** @param logits `[labels.length, classes]`, row-major @throws UserError on a label that is no class */
  add(logits: Float32Array, classes: number, labels: readonly number[], ids: readonly string[]): void {
    labels.forEach((label, row) => {
      if (!(label >= 0 && label < classes)) {
        throw new UserError(
          `${ids[row]} has class index ${label}, but the model has ${classes} classes; is it the data the model was made for?`,
        );
      }
      const start = row * classes;
      const rank = rankOf(logits, start, classes, label);
      if (rank < 1) this.#hits1++;
      if (rank < 5) this.#hits5++;
      const predicted = argMax(logits, start, classes);
      const normalizer = logSumExp(logits, start, classes);
      this.#loss += normalizer - logits[start + label]!;
      const probability = Math.exp(logits[start + predicted]! - normalizer);
      this.#keep({ id: ids[row]!, label, predicted, probability });
      this.samples++;
    });
  }

  #keep(prediction: Prediction): void {
    const next = Math.floor(((this.examples.length + 0.5) * this.#expected) / this.#wanted);
    if (this.examples.length < this.#wanted && this.samples >= next) this.examples.push(prediction);
    if (prediction.predicted === prediction.label || this.#wanted === 0) return;
    this.#mistakes.push(prediction);
    this.#mistakes.sort((a, b) => b.probability - a.probability);
    this.#mistakes = this.#mistakes.slice(0, Math.ceil(this.#wanted / 3));
  }
}

/**
 * How many classes come before `label`: those with a higher logit, and those before it with an equal
 * one. Whatever can't be compared (NaN) counts as before it, so a broken model scores nothing.
 */
function rankOf(logits: Float32Array, start: number, classes: number, label: number): number {
  const own = logits[start + label]!;
  let rank = 0;
  for (let c = 0; c < classes; c++) {
    const other = logits[start + c]!;
    if (c !== label && !(other < own || (other === own && c > label))) rank++;
  }
  return Number.isNaN(own) ? classes : rank;
}

/** log of the sum of exponentials, the largest factored out so that nothing overflows. */
function logSumExp(logits: Float32Array, start: number, classes: number): number {
  const highest = logits[start + argMax(logits, start, classes)]!;
  let sum = 0;
  for (let c = 0; c < classes; c++) sum += Math.exp(logits[start + c]! - highest);
  return highest + Math.log(sum);
}
