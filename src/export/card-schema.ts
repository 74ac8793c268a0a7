import * as z from 'zod';
import { preprocessingSchema } from '../dataset/preprocessing.ts';
import { modelPrecisions } from '../quantize/record.ts';

const tilesSchema = z.object({
  width: z.number().int().min(1).max(4096),
  height: z.number().int().min(1).max(4096),
  channels: z.union([z.literal(1), z.literal(3)]),
  pixels: z.base64(),
});
/** Tiles as cards hold them: pixels in base64. */
export type CardTiles = z.output<typeof tilesSchema>;

const tensorSchema = z.object({
  name: z.string(),
  dtype: z.string().nullable(),
  shape: z.array(z.union([z.number(), z.string()])),
});

/** `FileCard`, what of it is read again: of files that anything may have happened to. */
export const cardSchema = z.object({
  format: z.string(),
  architecture: z.string().nullish(),
  sha256: z.string(),
  precision: z.enum(modelPrecisions),
  inputs: z.array(tensorSchema).min(1),
  outputs: z.array(tensorSchema).min(1),
  image: z
    .object({
      layout: z.enum(['NCHW', 'NHWC']),
      scale: z.array(z.number()),
      offset: z.array(z.number()),
      preprocessing: preprocessingSchema,
      assumed: z.boolean().optional(),
    })
    .nullable(),
  scores: z.string().nullable(),
  classNames: z.array(z.string()).nullable(),
  golden: z
    .object({
      image: tilesSchema,
      top5: z.array(z.object({ index: z.number().int(), score: z.number() })),
      tolerance: z.number(),
    })
    .nullable(),
});
export type Card = z.output<typeof cardSchema>;
