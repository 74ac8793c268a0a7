import * as z from 'zod';
import { type ModelPrecision, modelPrecisions } from '../quantize/record.ts';
import type { Expectation } from './judge.ts';
import type { InputForm } from './model-input.ts';

/** A file that devices are given to measure. */
export interface Variant {
  /** In addresses and messages; says nothing of where the file lies. */
  readonly id: string;
  /** What it is, as stages are named: `dense`, `int8`; the file's name for one without a run. */
  readonly name: string;
  /** For people, where several runs are measured: `mine: int8`. */
  readonly title: string;
  readonly path: string;
  /** As reports name it: relative to the run, or as it was given. */
  readonly file: string;
  /** The run whose report gets the results. */
  readonly run: string | undefined;
  readonly format: 'onnx' | 'tflite';
  readonly precision: ModelPrecision;
  readonly bytes: number;
  /** Of the file when it was listed, in hexadecimal. */
  readonly sha256: string;
  readonly input: InputForm;
  readonly output: string;
  readonly classNames: readonly string[] | null;
  /** What the output is: `logits`, `probabilities`, `features`. */
  readonly scores: string | null;
  /** How pictures meet the input's shape. */
  readonly fit: Fit;
  /** What it is tried on. */
  readonly samples: readonly CardTiles[];
  /** null where nothing is known of what it must give. */
  readonly expectation: Expectation | null;
}

/** As timm crops: the picture resized to the input's size over `cropPct`, then cut. */
export interface Fit {
  readonly cropPct: number;
  readonly cropMode: 'center' | 'squash' | 'border';
}

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

/** What of a file's card (docs/app-files.md) is used here. */
export const cardSchema = z.object({
  format: z.string(),
  sha256: z.string(),
  precision: z.enum(modelPrecisions),
  inputs: z.array(tensorSchema).min(1),
  outputs: z.array(tensorSchema).min(1),
  image: z
    .object({
      layout: z.enum(['NCHW', 'NHWC']),
      scale: z.array(z.number()),
      offset: z.array(z.number()),
      preprocessing: z.object({
        inputSize: z.tuple([z.number(), z.number(), z.number()]),
        cropPct: z.number().gt(0),
        cropMode: z.enum(['center', 'squash', 'border']),
      }),
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

/** Values of an input at most, whatever a card says. */
const mostPixels = 2 ** 26;

/** How the file takes an image; a text says why a browser can't be given one. */
export function inputForm({ image, inputs }: Card): InputForm | string {
  const [{ name, dtype, shape } = { name: '', dtype: null, shape: [] }, ...others] = inputs;
  if (!image || others.length > 0) return 'it takes something else than one image';
  if (dtype !== 'float32' && dtype !== 'uint8') return `its input is ${dtype ?? 'of an unknown type'}`;
  const dims = shape.map((length, axis) => (axis === 0 && typeof length === 'string' ? 1 : Number(length)));
  const size = image.preprocessing.inputSize;
  if (size.reduce((product, one) => product * one, 1) > mostPixels)
    return 'its input is larger than any picture';
  if (image.scale.length !== size[0] || image.offset.length !== size[0]) return 'its card does not fit it';
  const [, ...rest] = dims;
  const laidOut = image.layout === 'NCHW' ? size : [size[1], size[2], size[0]];
  if (`${rest}` !== `${laidOut}`) return `its input is ${shape.join(' x ')}`;
  if (dims[0] !== 1) return `it takes ${dims[0]} images at once`;
  return { name, dtype, shape: dims, layout: image.layout, size, scale: image.scale, offset: image.offset };
}
