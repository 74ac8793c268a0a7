import type { z } from 'zod';
import { looksAtImages, quantize, quantizeModelOptions } from '../../library/quantize.ts';
import type { Stage } from './stage.ts';

/** Gives the model its lower precision. */
export const quantizeStage: Stage<typeof quantizeModelOptions> = {
  name: 'quantized',
  options: quantizeModelOptions,
  usesData: looksAtImages,
  async run({ context: { engine, seed, progress }, graph, options, data }) {
    return {
      graph: await quantize(engine, graph, { ...options, data: data?.dataset, seed, progress }),
      files: [],
    };
  },
};

export type QuantizeRecipe = z.output<typeof quantizeModelOptions>;
