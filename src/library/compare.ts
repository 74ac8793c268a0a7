import { UserError } from '../common/errors.ts';
import type { Dataset } from '../dataset/dataset.ts';
import { batches } from '../dataset/loader.ts';
import type { Graph } from '../graph/graph.ts';
import { type Agreement, compareModels, randomInputs } from '../measure/agreement.ts';
import type { Engine } from '../runtime/session.ts';
import { isClassifier, modelInfo } from '../zoo/model-info.ts';
import type { Surroundings } from './surroundings.ts';

/** What two models are compared on. */
export interface CompareOptions extends Surroundings {
  /** Its held-out images are used; default: standard normal numbers. */
  data?: Dataset;
  /** How many images; default 64. */
  samples?: number;
}

const batchSize = 16;

/**
 * How far the outputs of two models are apart on the same images, prepared as the first model wants them.
 *
 * @example
 * ```js
 * const { relative, agreement } = await compare(engine, model, quantized);
 * ```
 * @throws UserError when their outputs differ in number or shape, or are no numbers
 */
export function compare(
  engine: Engine,
  a: Graph,
  b: Graph,
  { data, samples = 64, seed = 0, threads, progress }: CompareOptions = {},
): Promise<Agreement> {
  const inputs = data
    ? pixelsOf(engine, a, data, samples)
    : randomInputs(imageShape(a), { images: samples, batchSize, seed });
  return compareModels(engine, a, b, inputs, {
    threads,
    progress,
    images: samples,
    classifier: isClassifier(a) && isClassifier(b),
  });
}

async function* pixelsOf(engine: Engine, model: Graph, data: Dataset, limit: number) {
  const loader = batches(data.val, modelInfo(model).preprocessing, { engine, batchSize, limit });
  for await (const { pixels } of loader) yield pixels;
}

/** Channels, height and width of what a model takes. @throws UserError when they are not fixed */
export function imageShape(model: Graph): [number, number, number] {
  const shape = model.inputs[0]?.shape?.slice(1) ?? [];
  if (shape.length !== 3 || shape.some((dim) => typeof dim !== 'number')) {
    throw new UserError(`the model's input has no fixed shape: [${model.inputs[0]?.shape}]`);
  }
  return shape as [number, number, number];
}
