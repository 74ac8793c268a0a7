import type { z } from 'zod';
import { quantizationWarning } from '../../quantize/describe.ts';
import { calibrates, quantize, quantizeOptions } from '../../quantize/quantize.ts';
import { quantization } from '../../quantize/record.ts';
import { samplesOption, someImages } from './images.node.ts';
import { remember, type Stage } from './stage.ts';

const options = quantizeOptions.extend({
  samples: samplesOption(128, 'training images that static ranges, and overflows of FP16, are found on'),
});

/** Gives the model its lower precision. */
export const quantizeStage: Stage<typeof options> = {
  name: 'quantized',
  options,
  usesData: calibrates,
  async run({ context, graph, options: { samples, ...options }, data }) {
    const { dtype, scheme, backend } = options;
    const images = data && someImages(context, data, samples);
    const quantized = await quantize(context.engine, graph, options, images, context.progress);
    const warning = quantizationWarning(quantization(quantized)!);
    if (warning) context.progress.note(warning);
    remember(quantized, dtype === 'fp16' ? 'quantized: fp16' : `quantized: int8 ${scheme}, ${backend}`);
    return { graph: quantized, files: [] };
  },
};

export type QuantizeRecipe = z.output<typeof options>;
