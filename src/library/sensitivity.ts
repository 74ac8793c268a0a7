import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import type { Dataset } from '../dataset/dataset.ts';
import { batches } from '../dataset/loader.ts';
import type { Graph } from '../graph/graph.ts';
import { randomInputs } from '../measure/agreement.ts';
import { layerSensitivity, type Sensitivity, type SomeImages } from '../measure/sensitivity.ts';
import { foldNorms } from '../optimize/fold-norms.ts';
import { numbersOf } from '../quantize/backends.ts';
import { layersToQuantize } from '../quantize/layers.ts';
import { int8Keys, quantizeOptions } from '../quantize/quantize.ts';
import { calibratedRanges } from '../quantize/static.ts';
import type { Engine } from '../runtime/session.ts';
import { isClassifier } from '../zoo/model-info.ts';
import { imageShape } from './compare.ts';
import { datasetFor, someImages } from './stage-data.ts';
import type { Surroundings } from './surroundings.ts';

/** The int8 numbers that layers are tried with, and on how many images. */
export const sensitivityOptions = quantizeOptions.pick(int8Keys).extend({
  samples: z.number().int().min(1).default(16).meta({
    description:
      'held-out images, or images of noise, that layers are tried on; static: ranges are found on so many training images',
  }),
});

type Input = z.input<typeof sensitivityOptions>;

/** The int8 numbers that layers are tried with: the options of `pqv sensitivity`. */
export interface SensitivityModelOptions extends Input, Surroundings {
  /** Held-out images to try layers on; left out: noise. */
  data?: Dataset;
  signal?: AbortSignal;
}

/** Images at a time: of a dynamic model the range of a layer's inputs is that of all of them. */
const batchSize = 8;

/**
 * Ranks a model's linear layers and convolutions by what int8 in each alone does to its outputs, and with data to its predictions.
 *
 * @example
 * ```js
 * const { layers } = await sensitivity(engine, model, { data });
 * const int8 = await quantize(engine, model, { ignore: [layers[0].layer] });
 * ```
 * @throws UserError on a wrong option, a quantized model, one without such layers, or static ranges without data
 */
export async function sensitivity(
  engine: Engine,
  source: Graph,
  { data, seed = 0, threads, progress, signal, ...input }: SensitivityModelOptions = {},
): Promise<Sensitivity> {
  const { samples, scheme, observer, ...choice } = validated(sensitivityOptions, input);
  const model = await foldNorms(engine, source);
  if (scheme === 'static' && !data) throw new UserError('static ranges need --data');
  const ranges =
    data && scheme === 'static'
      ? await calibratedRanges(engine, model, layersToQuantize(model, choice).layers, numbersOf(choice), {
          data: someImages(engine, model, data, samples, { seed, progress }),
          observer,
          progress,
        })
      : undefined;
  const images = data ? heldOut(engine, model, data, samples) : noise(model, samples, seed);
  return layerSensitivity(engine, model, images, {
    ...choice,
    ranges,
    classifier: isClassifier(model),
    images: samples,
    ...{ threads, progress, signal },
  });
}

function heldOut(engine: Engine, model: Graph, data: Dataset, limit: number): AsyncIterable<SomeImages> {
  const { dataset, preprocessing } = datasetFor(model, data);
  return batches(dataset.val, preprocessing, { engine, batchSize, limit });
}

function* noise(model: Graph, images: number, seed: number): Generator<SomeImages> {
  for (const pixels of randomInputs(imageShape(model), { images, batchSize, seed })) yield { pixels };
}
