import * as z from 'zod';
import { compensations } from '../../prune/compensate.ts';
import { headDimKinds } from '../../prune/group.ts';
import { importances } from '../../prune/importance.ts';
import { precisions } from '../../quantize/record.ts';
import { budgetOptions } from '../../report/sweep/budget.ts';

/** What is tried, each with each. */
export const sweepOptions = z.strictObject({
  ratios: z.array(z.number().gt(0).lt(1)).min(1).default([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).meta({
    description: 'shares of the channels to take out',
    value: 'r',
  }),
  importance: z.array(z.enum(importances)).min(1).default(['l1', 'taylor']).meta({
    description: 'how channels are ranked',
  }),
  compensate: z.array(z.enum(compensations)).min(1).default(['none', 'ridge']).meta({
    description: 'what is done about what went',
  }),
  dtypes: z
    .array(z.enum(['fp32', ...precisions]))
    .min(1)
    .default(['fp32', 'int8'])
    .meta({ description: 'number types that would ship' }),
  seeds: z.number().int().min(1).default(1).meta({
    description:
      'draws of the training images that are looked at, from --seed on; means and standard errors are over them',
  }),
  headDims: z.enum(headDimKinds).default('tied').meta({
    description: 'whether all heads of a layer lose the same dimensions',
  }),
  samples: z.number().int().min(1).default(512).meta({
    description: 'training images that importance and compensation look at',
  }),
  evalSamples: z.number().int().min(1).optional().meta({
    description: 'measure accuracy on only this many held-out images; left out: all',
  }),
  runs: z.number().int().min(0).default(50).meta({
    description: 'timed runs of each shape of model; 0: no latency',
  }),
  ...budgetOptions.shape,
});

export type SweepOptions = z.output<typeof sweepOptions>;
