import * as z from 'zod';
import { inModelOrder } from '../dataset/class-order.ts';
import type { Batch, Dataset } from '../dataset/dataset.ts';
import { batches } from '../dataset/loader.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { modelInfo } from '../zoo/model-info.ts';
import type { Surroundings } from './surroundings.ts';

/** Images that are normalized already, and what they show. */
export interface LabelledImages extends AsyncIterable<Pick<Batch, 'pixels' | 'labels'>> {
  /** How many there are, for progress bars. */
  readonly images?: number;
}

/** The option of a stage that looks at some of the training images. */
export const samplesOption = (count: number, description: string) =>
  z.number().int().min(1).default(count).meta({ description });

/** Images at a time where gradients are taken or ranges are found. */
const batchSize = 16;

/**
 * A data set with its classes as a model numbers them, and how the model wants the images.
 * @throws UserError when the model tells classes apart and those of the data set are others
 */
export function datasetFor(model: Graph, data: Dataset): { dataset: Dataset; preprocessing: Preprocessing } {
  const { numClasses: count, classNames: names, preprocessing } = modelInfo(model);
  return { dataset: count > 0 ? inModelOrder(data, { count, names }).dataset : data, preprocessing };
}

/**
 * Images for a stage that looks at some of them: of a data set so many training images, the same for the
 * same seed; what is no data set is taken as it is.
 * @throws UserError as `datasetFor`
 */
export function someImages(
  engine: Engine,
  model: Graph,
  data: Dataset | LabelledImages,
  samples: number,
  { seed = 0, progress }: Surroundings,
): LabelledImages {
  if (!('train' in data)) return data;
  const { dataset, preprocessing } = datasetFor(model, data);
  return batches(dataset.train, preprocessing, {
    engine,
    batchSize,
    shuffle: { seed, epoch: 0 },
    limit: samples,
    progress,
  });
}
