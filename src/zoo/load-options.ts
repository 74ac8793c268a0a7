import * as z from 'zod';
import type { Progress } from '../common/progress.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import { preprocessingOptions } from '../dataset/preprocessing-options.ts';

const inputSizeForm = /^([13])x([1-9]\d{0,4})x([1-9]\d{0,4})$/;

/** What can be said of a model where it is read, for what it does not say itself. */
export const loadOptions = z.strictObject({
  arch: z.string().optional().meta({ description: 'architecture of a bare checkpoint file' }),
  inputSize: z
    .string()
    .regex(
      inputSizeForm,
      'option inputSize: it must be channels (1 or 3) x height x width, such as 3x160x128',
    )
    .optional()
    .meta({
      description: 'images of another size than a checkpoint is of; positions are resampled as timm does',
      value: 'CxHxW',
    }),
  offline: z.boolean().optional().meta({
    description: 'take models of the Hugging Face Hub from the cache alone; HF_HUB_OFFLINE=1 says so too',
  }),
  ...preprocessingOptions.shape,
});

export type LoadOptions = z.output<typeof loadOptions>;

/** The sizes in `3x160x128`. */
export function parsedInputSize(text: string | undefined): Preprocessing['inputSize'] | undefined {
  const sizes = inputSizeForm
    .exec(text ?? '')
    ?.slice(1)
    .map(Number);
  return sizes as unknown as Preprocessing['inputSize'] | undefined;
}

/** What reading a model takes: options, and whom to tell what was done on the way. */
export interface ModelReading extends LoadOptions {
  progress?: Progress | undefined;
}
