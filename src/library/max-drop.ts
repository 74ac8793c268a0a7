import type { z } from 'zod';
import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import type { Dataset } from '../dataset/dataset.ts';
import { batches } from '../dataset/loader.ts';
import type { Graph } from '../graph/graph.ts';
import type { DropKind } from '../measure/predictions.ts';
import { layerSensitivity } from '../measure/sensitivity.ts';
import { withinDrop } from '../measure/within-drop.ts';
import { numbersOf } from '../quantize/backends.ts';
import { layersToQuantize } from '../quantize/layers.ts';
import { quantize, type quantizeOptions } from '../quantize/quantize.ts';
import { assertFullPrecision, quantization, recordQuantization } from '../quantize/record.ts';
import { calibratedRanges } from '../quantize/static.ts';
import type { Engine } from '../runtime/session.ts';
import { isClassifier, modelInfo } from '../zoo/model-info.ts';
import { datasetFor, type LabelledImages } from './stage-data.ts';

type Options = z.output<typeof quantizeOptions>;

/** What may be lost. */
export interface AllowedDrop {
  /** Points: hundredths of the images. */
  readonly allowed: number;
  readonly of: DropKind;
  /** Held-out images that it is measured on. */
  readonly samples: number;
}

interface Given {
  data: Dataset | LabelledImages | undefined;
  /** For static ranges. */
  images: LabelledImages | undefined;
  progress: Progress;
  /** What is done to each quantized model, in place. */
  finish(quantized: Graph): Promise<void>;
}

/** Images that layers are ranked on, and how many at a time. */
const ranked = { limit: 16, batchSize: 8 } as const;

/**
 * int8 with the layers that suffer most left in float32, as many as it takes for the drop to hold.
 * @throws UserError as `quantize` and `withinDrop`, and without held-out images, classes, or int8
 */
export async function quantizeWithin(
  { allowed, of, samples }: AllowedDrop,
  engine: Engine,
  model: Graph,
  options: Options,
  { data, images, progress, finish }: Given,
): Promise<Graph> {
  if (options.dtype !== 'int8') {
    throw new UserError(`max-drop leaves layers out of int8: it does not go with ${options.dtype}`);
  }
  if (!data || !('val' in data)) {
    throw new UserError('max-drop needs a data set with held-out images (--data)');
  }
  if (!isClassifier(model)) {
    throw new UserError('max-drop counts predictions, and the model has no classifier');
  }
  assertFullPrecision(model);
  const ranges = images && (await rangesOf(engine, model, options, images, progress));
  const { dataset, preprocessing } =
    of === 'top1'
      ? datasetFor(model, data)
      : { dataset: data, preprocessing: modelInfo(model).preprocessing };
  const { graph, drop } = await withinDrop(engine, model, {
    allowed,
    of,
    images: batches(dataset.val, preprocessing, { engine, batchSize: 32, limit: samples }),
    async make(kept) {
      const ignore = [...options.ignore, ...kept];
      const quantized = await quantize(engine, model, { ...options, ignore }, undefined, progress, ranges);
      await finish(quantized);
      return quantized;
    },
    async rank() {
      const found = batches(dataset.val, preprocessing, { engine, ...ranked });
      const numbers = { ...options, ranges, classifier: true, images: found.images, progress };
      return (await layerSensitivity(engine, model, found, numbers)).layers.map(({ layer }) => layer);
    },
    progress,
  });
  recordQuantization(graph, { ...quantization(graph)!, drop });
  return graph;
}

/** What static int8 reads, from images. */
function rangesOf(
  engine: Engine,
  model: Graph,
  { ignore, observer, ...choice }: Options,
  data: LabelledImages,
  progress: Progress,
) {
  const { layers } = layersToQuantize(model, { ignore, weights: choice.weights });
  return calibratedRanges(engine, model, layers, numbersOf(choice), { data, observer, progress });
}
