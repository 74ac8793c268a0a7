import type { z } from 'zod';
import { validated } from '../common/options.ts';
import { silent } from '../common/progress.ts';
import type { Dataset } from '../dataset/dataset.ts';
import type { Graph } from '../graph/graph.ts';
import { quantizationWarning } from '../quantize/describe.ts';
import { calibrates, quantizeOptions, quantize as quantizePass } from '../quantize/quantize.ts';
import { quantization } from '../quantize/record.ts';
import { assertLoads } from '../runtime/loads.ts';
import type { Engine } from '../runtime/session.ts';
import { remember } from '../zoo/model-info.ts';
import { type LabelledImages, samplesOption, someImages } from './stage-data.ts';
import type { Surroundings } from './surroundings.ts';

/** The lower precision a model is given. */
export const quantizeModelOptions = quantizeOptions.extend({
  samples: samplesOption(128, 'training images that static ranges, and overflows of FP16, are found on'),
});

type Input = z.input<typeof quantizeModelOptions>;

/** The lower precision a model is given: the options of `pqv quantize`. */
export interface QuantizeModelOptions extends Input, Omit<Surroundings, 'threads'> {
  /** What static ranges, and overflows of FP16, are found on. */
  data?: Dataset | LabelledImages;
}

/**
 * A copy of a model in a lower precision: int8 with activation ranges found at run time (`dynamic`) or by
 * calibration (`static`), or FP16.
 *
 * @example
 * ```js
 * const int8 = await quantize(engine, model, {});
 * const calibrated = await quantize(engine, model, { scheme: 'static', data });
 * const half = await quantize(engine, model, { dtype: 'fp16' });
 * ```
 * @throws UserError on a wrong option, a model that is quantized already, static ranges without data, or when the
 *   engine does not load what comes out
 */
export async function quantize(
  engine: Engine,
  model: Graph,
  { data, seed, progress = silent, ...input }: QuantizeModelOptions = {},
): Promise<Graph> {
  const { samples, ...options } = validated(quantizeModelOptions, input);
  const images =
    data && calibrates(options) ? someImages(engine, model, data, samples, { seed, progress }) : undefined;
  const quantized = await quantizePass(engine, model, options, images, progress);
  const halves = options.dtype === 'fp16' ? ' (--compute float32 stores the weights alone in float16)' : '';
  await assertLoads(engine, quantized, `the model can't be had in ${options.dtype}${halves}`);
  const warning = quantizationWarning(quantization(quantized)!);
  if (warning) progress.note(warning);
  const { dtype, scheme, backend } = options;
  remember(quantized, dtype === 'fp16' ? 'quantized: fp16' : `quantized: int8 ${scheme}, ${backend}`);
  return quantized;
}
