import type { z } from 'zod';
import { UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import type { Augmentation } from '../dataset/augmentation.ts';
import { forChoosing } from '../dataset/choosing.ts';
import { areNamed } from '../dataset/class-order.ts';
import type { Dataset } from '../dataset/dataset.ts';
import type { Graph } from '../graph/graph.ts';
import type { Kept } from '../prune/apply.ts';
import { assertFullPrecision } from '../quantize/record.ts';
import { assertLoads } from '../runtime/loads.ts';
import type { Engine } from '../runtime/session.ts';
import {
  type FinetuneContext,
  type FinetuneResult,
  type Finetuner,
  finetune as finetunePass,
} from '../train/finetune.ts';
import { finetuneOptions } from '../train/finetune-options.ts';
import { isClassifier, modelInfo, remember, setModelInfo } from '../zoo/model-info.ts';
import { quantizeModelOptions } from './quantize.ts';
import { datasetFor, someImages } from './stage-data.ts';
import type { Surroundings } from './surroundings.ts';

/** How a model is trained further. */
export const finetuneModelOptions = finetuneOptions.extend({
  samples: quantizeModelOptions.shape.samples,
});

type Input = z.input<typeof finetuneModelOptions>;

/** How a model is trained further: the options of `pqv finetune`. */
export interface FinetuneModelOptions extends Input, Surroundings, FinetuneContext {
  /** What it is trained on; the held-out images are only read with `evaluate`. */
  data: Dataset;
  /** Changes made to each image; default: none. */
  augment?: Augmentation;
  /** A model with the same input and classes whose predictions or inner values are learnt too. */
  teacher?: Graph;
  /** What pruning has kept of the teacher, as it has said: for `distillKind: 'feature'`. */
  kept?: Kept;
  /** Measure top-1 on the held-out images after every epoch; default: not. */
  evaluate?: boolean;
  /** What trains; default: this process, on the engine. */
  finetuner?: Finetuner;
}

/**
 * Trains a model further: an optimizer, a schedule with warm-up, label smoothing, clipping, and, with a
 * teacher, distillation. The result is a function of model, data and options: a run that was interrupted
 * anywhere and resumed from its checkpoint ends with the same weights, bit for bit.
 *
 * @example
 * ```js
 * const { graph, history } = await finetune(engine, pruned, { data, epochs: 3, teacher: model });
 * history.epochs.at(-1).loss;
 * ```
 * @throws UserError on a wrong option, data of other classes, or when the loss stops being finite
 * @throws InterruptedError when `signal` was aborted
 */
export async function finetune(
  engine: Engine,
  model: Graph,
  {
    data,
    seed = 0,
    progress,
    signal,
    checkpoints,
    checkpointEvery,
    resume,
    watcher,
    finetuner = finetunePass,
    ...rest
  }: FinetuneModelOptions,
): Promise<FinetuneResult> {
  assertFullPrecision(model, 'train');
  const { threads, augment, teacher, kept, evaluate, ...input } = rest;
  const { samples, ...options } = validated(finetuneModelOptions, input);
  const chooses = options.best || options.patience !== undefined;
  const { dataset, preprocessing } = datasetFor(model, chooses ? forChoosing(data) : data);
  if (chooses && data.isTest) {
    progress?.note(
      `${data.name} has a test set alone, by which nothing is chosen: ${dataset.val.length} of its training images are held out for that`,
    );
  }
  const classifies = isClassifier(model);
  const task = options.task ?? (classifies ? 'classify' : 'distill');
  if (task === 'classify' && !classifies) {
    throw new UserError(
      'the model has no classifier to train on labels: --task distill learns from a teacher',
    );
  }
  const calibration =
    options.qat && options.scheme === 'static'
      ? someImages(engine, model, dataset, samples, { seed, progress })
      : undefined;
  const settings = {
    ...{ ...options, task, preprocessing, seed, threads },
    ...{ augment, teacher, kept, calibration, evaluate },
  };
  const context = { progress, signal, checkpoints, checkpointEvery, resume, watcher };
  const result = await finetuner(engine, model, dataset, settings, context);
  await assertLoads(engine, result.graph, 'the trained model is of no use');
  nameClasses(result.graph, dataset.classes);
  const aim = options.qat ? `, for int8 ${options.scheme}, ${options.backend}` : '';
  remember(result.graph, `finetuned: ${options.epochs} epochs, lr ${options.lr}${aim}`);
  return result;
}

/** A model whose classes nobody named knows them by those of the data set that it was trained on. */
function nameClasses(model: Graph, classes: readonly string[]): void {
  const info = modelInfo(model);
  if (info.classNames || info.numClasses !== classes.length || !areNamed(classes)) return;
  setModelInfo(model, { ...info, classNames: [...classes] });
}
