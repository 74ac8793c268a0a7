import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { inModelOrder } from '../dataset/class-order.ts';
import type { Dataset } from '../dataset/dataset.ts';
import { type DataReading, openDataset } from '../dataset/open.node.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import { onnxruntimeOn } from '../runtime/onnxruntime.node.ts';
import type { Provider } from '../runtime/provider.ts';
import type { Engine } from '../runtime/session.ts';
import type { TrainingWatcher } from '../train/watch.ts';
import { isClassifier, modelInfo, preprocessingLine } from '../zoo/model-info.ts';
import { newHead } from '../zoo/new-head.ts';

/** What every stage needs beside its model. */
export interface Context {
  engine: Engine;
  threads: number;
  seed: number;
  progress: Progress;
  signal?: AbortSignal;
  /** Who follows a training. */
  watcher?: TrainingWatcher | undefined;
}

/** A context that runs on ONNX Runtime, on the CPU where no other provider is named. */
export function localContext({
  threads,
  seed,
  progress = silent,
  signal,
  watcher,
  provider = 'cpu',
}: Omit<Context, 'engine' | 'progress'> & { progress?: Progress; provider?: Provider }): Context {
  return { engine: onnxruntimeOn(provider), threads, seed, progress, signal, watcher };
}

/** A data set and the way its images become the model's inputs. */
export interface ModelData {
  dataset: Dataset;
  preprocessing: Preprocessing;
}

/** @throws UserError when there are no classes to be right about */
export function assertClassifier(graph: Graph): void {
  if (!isClassifier(graph)) {
    throw new UserError('the model has no classifier (num_classes 0): it gives features, not classes');
  }
}

/** Gives a model a head for the classes of a data set, and says so. */
function startHead(graph: Graph, { name, classes }: Dataset, progress: Progress, seed?: number): void {
  const before = modelInfo(graph).numClasses;
  const fresh = newHead(graph, classes, seed);
  progress.note(
    `a new head for the ${classes.length} classes of ${name} in place of that for ${before}: ${fresh.join(', ')} start anew, all other weights stay`,
  );
}

/**
 * Opens a data set for a model, and says how its images are prepared.
 * @param options with `newHead` the model is given, in place, a new head for the classes of the data set
 * @throws UserError when it is missing or empty, or the model tells classes apart and those are others
 */
export async function openModelData(
  graph: Graph,
  reference: string,
  progress: Progress,
  options?: DataReading & { newHead?: boolean; seed?: number },
): Promise<ModelData> {
  const opened = await openDataset(reference, { ...options, progress });
  if (options?.newHead) startHead(graph, opened, progress, options.seed);
  const info = modelInfo(graph);
  const { numClasses: count, classNames: names, preprocessing } = info;
  const { dataset, note } =
    count > 0 ? inModelOrder(opened, { count, names }, options?.classOrder) : { dataset: opened };
  for (const line of [...(opened.notes ?? []), ...(note ? [note] : [])]) progress.note(line);
  progress.note(`images: ${preprocessingLine(info)}`);
  return { dataset, preprocessing };
}
