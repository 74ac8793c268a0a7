import * as z from 'zod';
import { type Augmentation, eraseModes } from './augmentation.ts';

const probability = (description: string) =>
  z.number().min(0).max(1).default(0).meta({ description, value: 'p' });

/** How training images are changed, each by itself, as options of a command line and of recipes. */
export const augmentOptions = z.strictObject({
  crop: z.enum(['none', 'shift', 'resized']).default('none').meta({
    description:
      'training images: cut as for evaluation (none), that moved a little (shift: digits, small images), or a random part resized to the input (resized: photographs)',
    value: 'how',
  }),
  shift: z.number().int().min(1).default(2).meta({
    description: 'pixels that --crop shift moves an image each way, at most',
  }),
  cropScale: z.number().gt(0).max(1).default(0.08).meta({
    description: 'share of the image that --crop resized shows, at least',
    value: 'share',
  }),
  flip: probability('probability of a mirror image; leave it out where left and right differ'),
  randAugment: z.string().optional().meta({
    description:
      'changes of RandAugment as timm writes them: rand-m9-mstd0.5-inc1 (magnitude 9 with deviation 0.5, of changes that increase with it); none or left out: no changes',
    value: 'config',
  }),
  jitter: z.number().min(0).max(1).default(0).meta({
    description: 'brightness, contrast and colour change by up to this share each, in any order',
    value: 'share',
  }),
  erase: probability('probability that a random rectangle is replaced'),
  eraseMode: z.enum(eraseModes).default('pixel').meta({
    description: 'by noise for each pixel (pixel), one colour of noise (rand), or the mean (const)',
    value: 'how',
  }),
});

/** The augmentation that the options ask for; undefined for none. */
export function augmentationOf(options: z.output<typeof augmentOptions>): Augmentation | undefined {
  const { crop, shift, cropScale, flip, erase, eraseMode, jitter } = options;
  const randAugment = options.randAugment === 'none' ? undefined : options.randAugment;
  const crops: Record<typeof crop, Augmentation['crop']> = {
    none: undefined,
    shift: { kind: 'shift', pixels: shift },
    resized: { kind: 'resized', scale: [cropScale, 1] },
  };
  const found = {
    ...{ crop: crops[crop], flip: flip || undefined, randAugment, jitter: jitter || undefined },
    ...(erase ? { erase, eraseMode: eraseMode === 'pixel' ? undefined : eraseMode } : {}),
  };
  return Object.values(found).every((value) => value === undefined) ? undefined : found;
}
