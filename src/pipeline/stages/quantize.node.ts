import type { z } from 'zod';
import { quantize, quantizeModelOptions } from '../../library/quantize.ts';
import { calibrates } from '../../quantize/quantize.ts';
import type { Stage } from './stage.ts';

/** Gives the model its lower precision. */
export const quantizeStage: Stage<typeof quantizeModelOptions> = {
  name: 'quantized',
  options: quantizeModelOptions,
  usesData: calibrates,
  async run({ context: { engine, seed, progress }, graph, options, data }) {
    return {
      graph: await quantize(engine, graph, { ...options, data: data?.dataset, seed, progress }),
      files: [],
    };
  },
};

export type QuantizeRecipe = z.output<typeof quantizeModelOptions>;
