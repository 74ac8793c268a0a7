import * as z from 'zod';
import {
  cropModes,
  fromTimmConfig,
  interpolations,
  type Preprocessing,
  toTimmConfig,
} from './preprocessing.ts';

const perChannel = (range: z.ZodNumber, description: string) =>
  z.array(range).min(1).max(3).optional().meta({ description, value: 'list' });

/** How images are prepared for a model that does not say so itself, or says something else. */
export const preprocessingOptions = z.strictObject({
  mean: perChannel(z.number(), 'mean of each channel, of pixels in 0..1; left out: as the model says'),
  std: perChannel(z.number().gt(0), 'deviation of each channel; left out: as the model says'),
  interpolation: z
    .enum(interpolations)
    .optional()
    .meta({ description: 'filter of the resize; left out: as the model says', value: 'name' }),
  cropPct: z.number().gt(0).max(1).optional().meta({
    description: 'share of the resized image that is kept; left out: as the model says',
  }),
  cropMode: z.enum(cropModes).optional().meta({
    description: "how an image's shape meets the input's; left out: as the model says",
    value: 'how',
  }),
});

export type PreprocessingOptions = z.output<typeof preprocessingOptions>;

/** Whether anything was given. */
export const saysPreprocessing = (options: PreprocessingOptions): boolean => given(options).length > 0;

/**
 * A model's preprocessing with what was given in its place.
 * @throws UserError when the numbers do not fit the channels
 */
export const overriddenPreprocessing = (own: Preprocessing, options: PreprocessingOptions): Preprocessing =>
  fromTimmConfig({ ...toTimmConfig(own), ...Object.fromEntries(given(options)) }, 'the options');

/** By timm's names. */
const given = ({ mean, std, interpolation, cropPct, cropMode }: PreprocessingOptions) =>
  Object.entries({ mean, std, interpolation, crop_pct: cropPct, crop_mode: cropMode }).filter(
    ([, value]) => value !== undefined,
  );
