import { z } from 'zod';
import { preprocessingOptions } from '../dataset/preprocessing-options.ts';

/** What can be said of a model where it is read, for what it does not say itself. */
export const loadOptions = z.strictObject({
  arch: z.string().optional().meta({ description: 'architecture of a bare checkpoint file' }),
  ...preprocessingOptions.shape,
});

export type LoadOptions = z.output<typeof loadOptions>;
