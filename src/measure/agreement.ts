import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { Random } from '../common/random.ts';
import type { Graph } from '../graph/graph.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import { argMax, type Classifier, loadClassifier } from './classifier.ts';

export interface CompareOptions {
  threads?: number;
  progress?: Progress;
  /** How many inputs there are to come, for the progress bar. */
  images?: number;
  signal?: AbortSignal;
}

export interface Agreement {
  /** Largest absolute difference of a logit. */
  readonly maxAbs: number;
  /** That, over the largest absolute logit of the reference. */
  readonly relative: number;
  /** Share of images for which both put the same class first. */
  readonly agreement: number;
  /** Images compared. */
  readonly samples: number;
}

/**
 * How far two models' logits are apart on the same inputs.
 * @param a the reference
 * @param inputs batches of `pixel_values`, each `[N, C, H, W]`
 * @throws UserError when the two don't give the same number of classes, or something that is no number
 */
export async function compareModels(
  engine: Engine,
  a: Graph | Uint8Array | string,
  b: Graph | Uint8Array | string,
  inputs: Iterable<Tensor> | AsyncIterable<Tensor>,
  options: CompareOptions = {},
): Promise<Agreement> {
  const { progress = silent, signal } = options;
  const first = await loadClassifier(engine, a, options.threads);
  try {
    const second = await loadClassifier(engine, b, options.threads);
    const task = progress.task('compare', options.images ?? 0, 'images');
    try {
      let maxAbs = 0;
      let largest = 0;
      let same = 0;
      let samples = 0;
      for await (const pixels of inputs) {
        signal?.throwIfAborted();
        const [x, y] = [await logitsOf(first, pixels, 'first'), await logitsOf(second, pixels, 'second')];
        const [rows, classes] = x.shape as [number, number];
        if (`${x.shape}` !== `${y.shape}`) {
          throw new UserError(
            `the models don't compare: one gives logits [${x.shape}], the other [${y.shape}]`,
          );
        }
        const [p, q] = [x.floats, y.floats];
        for (let i = 0; i < p.length; i++) {
          maxAbs = Math.max(maxAbs, Math.abs(p[i]! - q[i]!));
          largest = Math.max(largest, Math.abs(p[i]!));
        }
        for (let start = 0; start < p.length; start += classes) {
          if (argMax(p, start, classes) === argMax(q, start, classes)) same++;
        }
        samples += rows;
        task.update(samples);
      }
      if (samples === 0) throw new UserError('nothing to compare the models on');
      return { maxAbs, relative: relativeTo(maxAbs, largest), agreement: same / samples, samples };
    } finally {
      task.done();
      await second.dispose();
    }
  } finally {
    await first.dispose();
  }
}

/** Two models that both give only zeros agree; any difference from zeros is infinitely large. */
function relativeTo(maxAbs: number, largest: number): number {
  return maxAbs === 0 ? 0 : maxAbs / largest;
}

async function logitsOf(model: Classifier, pixels: Tensor, which: string): Promise<Tensor> {
  const logits = await model.logits(pixels);
  if (!logits.floats.every(Number.isFinite)) {
    throw new UserError(`the ${which} model's logits are not all finite numbers; it overflows or is damaged`);
  }
  return logits;
}

/** Batches of standard normal pixels, as normalized images roughly are; the same for the same seed. */
export function* randomInputs(
  shape: readonly [channels: number, height: number, width: number],
  options: { images: number; batchSize: number; seed: number },
): Generator<Tensor> {
  const random = new Random(options.seed);
  for (let done = 0; done < options.images; done += options.batchSize) {
    const rows = Math.min(options.batchSize, options.images - done);
    const data = Float32Array.from({ length: rows * elementCount(shape) }, () => random.normal());
    yield Tensor.float32([rows, ...shape], data);
  }
}
