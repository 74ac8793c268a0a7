import { z } from 'zod';
import { type Batches, batches } from '../../dataset/loader.ts';
import type { Context, ModelData } from '../context.node.ts';

/** The option of a stage that looks at some of the training images. */
export const samplesOption = (count: number, description: string) =>
  z.number().int().min(1).default(count).meta({ description });

/** Images at a time where gradients are taken or ranges are found. */
const batchSize = 16;

/** Some of the training images, the same for the same seed. */
export function someImages(
  { engine, seed, progress }: Context,
  { dataset, preprocessing }: ModelData,
  samples: number,
): Batches {
  return batches(dataset.train, preprocessing, {
    engine,
    batchSize,
    shuffle: { seed, epoch: 0 },
    limit: samples,
    progress,
  });
}
