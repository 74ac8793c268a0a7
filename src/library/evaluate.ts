import type { Dataset } from '../dataset/dataset.ts';
import type { Graph } from '../graph/graph.ts';
import { type Accuracy, type EvaluateOptions, evaluate as evaluatePass } from '../measure/accuracy.ts';
import type { Engine } from '../runtime/session.ts';
import { datasetFor } from './stage-data.ts';

/** What a model is measured on. */
export interface EvaluateModelOptions extends Omit<EvaluateOptions, 'preprocessing' | 'batchSize'> {
  /** Its held-out images are used. */
  data: Dataset;
  /** Images at a time; default 32. */
  batchSize?: number;
  /** A file or the bytes of one that was exported from the model, to be measured in its place. */
  file?: string | Uint8Array;
}

/**
 * Accuracy on the held-out images of a data set, prepared as the model wants them.
 *
 * @example
 * ```js
 * const { top1, samples } = await evaluate(engine, model, { data });
 * const shipped = await evaluate(engine, model, { data, file: 'model.onnx' });
 * ```
 * @throws UserError when the classes of the data set can't be the model's, or too many images can't be read
 */
export function evaluate(
  engine: Engine,
  model: Graph,
  { data, batchSize = 32, file, ...options }: EvaluateModelOptions,
): Promise<Accuracy> {
  const { dataset, preprocessing } = datasetFor(model, data);
  return evaluatePass(engine, file ?? model, dataset.val, { ...options, preprocessing, batchSize });
}
