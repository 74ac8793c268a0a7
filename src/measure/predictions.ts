import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Batches } from '../dataset/loader.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { argMax, loadClassifier } from './classifier.ts';

/** What a classifier says of some images, and what they show, in their order. */
export interface Predictions {
  readonly predicted: readonly number[];
  readonly labels: readonly number[];
}

/** Runs a classifier over images. @param label of the progress bar @throws UserError when there are no images */
export async function predictions(
  engine: Engine,
  model: Graph,
  images: Batches,
  { threads, progress = silent, label = 'predict', signal }: PredictionOptions = {},
): Promise<Predictions> {
  const classifier = await loadClassifier(engine, model, threads);
  const task = progress.task(label, images.images, 'images');
  const predicted: number[] = [];
  const shown: number[] = [];
  try {
    for await (const { pixels, labels } of images) {
      signal?.throwIfAborted();
      const { floats, shape } = await classifier.logits(pixels);
      const classes = shape[1]!;
      for (let row = 0; row < shape[0]!; row++) predicted.push(argMax(floats, row * classes, classes));
      shown.push(...labels.integers);
      task.update(predicted.length);
    }
  } finally {
    task.done();
    await classifier.dispose();
  }
  if (predicted.length === 0) throw new UserError('there are no images to compare predictions on');
  return { predicted, labels: shown };
}

export interface PredictionOptions {
  threads?: number;
  progress?: Progress;
  label?: string;
  signal?: AbortSignal;
}

/** What may get worse: right answers, or answers that are the same. */
export const dropKinds = ['top1', 'agreement'] as const;
export type DropKind = (typeof dropKinds)[number];

/** Points (hundredths of the images) that a model loses against another. */
export function dropBetween(before: Predictions, after: Predictions, of: DropKind): number {
  const wanted = of === 'top1' ? before.labels : before.predicted;
  const right = ({ predicted }: Predictions) =>
    predicted.reduce((sum, found, i) => sum + Number(found === wanted[i]), 0);
  return (100 * (right(before) - right(after))) / before.predicted.length;
}
