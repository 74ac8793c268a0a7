import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { checkedAs } from '../common/json.ts';

/** Filters a resize may use. The names are timm's. */
export const interpolations = ['bicubic', 'bilinear'] as const;
export type Interpolation = (typeof interpolations)[number];

/**
 * How the shape of an image meets the shape of the input, in timm's words:
 * `center` keeps the aspect ratio and cuts what is over, `squash` scales both edges by themselves,
 * `border` keeps everything and fills the rest with the mean colour.
 */
export const cropModes = ['center', 'squash', 'border'] as const;
export type CropMode = (typeof cropModes)[number];

/** How an image becomes a model's input. */
export interface Preprocessing {
  /** `[C, H, W]`; C is 1 (grey) or 3. */
  readonly inputSize: readonly [channels: 1 | 3, height: number, width: number];
  /** Per channel, of pixel values in 0..1. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly interpolation: Interpolation;
  /** The image is first resized to the input size divided by this, then cropped. */
  readonly cropPct: number;
  readonly cropMode: CropMode;
}

const edge = z
  .number()
  .int()
  .min(1)
  .max(1 << 16);

/** `Preprocessing`, where it comes from a file. */
export const preprocessingSchema: z.ZodType<Preprocessing> = z.object({
  inputSize: z.tuple([z.union([z.literal(1), z.literal(3)]), edge, edge]),
  mean: z.array(z.number()).min(1).max(3),
  std: z.array(z.number().gt(0)).min(1).max(3),
  interpolation: z.enum(interpolations),
  cropPct: z.number().gt(0),
  cropMode: z.enum(cropModes),
});

/** `TimmInputConfig`, of which a file may hold anything. */
const timmInputSchema = z.object({
  input_size: z.array(z.number()).nullish(),
  mean: z.array(z.number()).nullish(),
  std: z.array(z.number()).nullish(),
  interpolation: z.string().nullish(),
  crop_pct: z.number().nullish(),
  crop_mode: z.string().nullish(),
});

/** The fields of timm's `pretrained_cfg` that say how images are prepared. */
export interface TimmInputConfig {
  input_size?: readonly number[] | null;
  mean?: readonly number[] | null;
  std?: readonly number[] | null;
  interpolation?: string | null;
  crop_pct?: number | null;
  crop_mode?: string | null;
}

const imagenetMean = [0.485, 0.456, 0.406];
const imagenetStd = [0.229, 0.224, 0.225];

/**
 * The preprocessing a timm `pretrained_cfg` asks for; what it leaves out is filled in as timm's
 * `resolve_data_config` does (224 pixels, ImageNet mean and deviation, bicubic, 0.875, centre).
 * @param where named in errors: the file the configuration came from
 * @throws UserError on a field with a value that can't be honoured
 */
export function fromTimmConfig(input: TimmInputConfig, where: string): Preprocessing {
  const config = checkedAs(timmInputSchema, input, where);
  const inputSize = config.input_size ?? [3, 224, 224];
  const [channels, height, width] = inputSize;
  if (inputSize.length !== 3 || (channels !== 1 && channels !== 3) || !isSize(height) || !isSize(width)) {
    throw new UserError(
      `${where}: input_size is [${inputSize}]; it must be [channels, height, width] with 1 or 3 channels`,
    );
  }
  const cropPct = config.crop_pct || 0.875;
  if (!(cropPct > 0)) throw new UserError(`${where}: crop_pct is ${cropPct}; it must be above 0`);
  return {
    inputSize: [channels, height, width],
    mean: perChannel('mean', config.mean, imagenetMean, channels, where),
    std: perChannel('std', config.std, imagenetStd, channels, where),
    interpolation: oneOf('interpolation', config.interpolation || 'bicubic', interpolations, where),
    cropPct,
    cropMode: oneOf('crop_mode', config.crop_mode || 'center', cropModes, where),
  };
}

/** The inverse of `fromTimmConfig`, for writing a `config.json`. */
export function toTimmConfig(preprocessing: Preprocessing): TimmInputConfig {
  return {
    input_size: preprocessing.inputSize,
    mean: preprocessing.mean,
    std: preprocessing.std,
    interpolation: preprocessing.interpolation,
    crop_pct: preprocessing.cropPct,
    crop_mode: preprocessing.cropMode,
  };
}

/** In words: `224 x 224, RGB, bicubic, centre crop of 90 %, mean 0.5 0.5 0.5, std 0.5 0.5 0.5`. */
export function describePreprocessing(preprocessing: Preprocessing): string {
  const { inputSize, mean, std, interpolation, cropPct, cropMode } = preprocessing;
  const [channels, height, width] = inputSize;
  const numbers = (values: readonly number[]) => values.map((value) => +value.toPrecision(4)).join(' ');
  const shape = {
    center: `centre crop of ${+(100 * cropPct).toPrecision(4)} %`,
    squash: 'squashed',
    border: 'bordered',
  };
  return [
    `${width} x ${height}`,
    channels === 1 ? 'grey' : 'RGB',
    interpolation,
    shape[cropMode],
    `mean ${numbers(mean)}`,
    `std ${numbers(std)}`,
  ].join(', ');
}

function isSize(size: number | undefined): size is number {
  return edge.safeParse(size).success;
}

function perChannel(
  field: 'mean' | 'std',
  given: readonly number[] | null | undefined,
  fallback: readonly number[],
  channels: number,
  where: string,
): readonly number[] {
  const values = given ?? (channels === 1 ? [average(fallback)] : fallback);
  const spread = values.length === 1 ? Array.from({ length: channels }, () => values[0]!) : values;
  const usable = spread.every((value) => Number.isFinite(value) && (field === 'mean' || value > 0));
  if (spread.length !== channels || !usable) {
    const kind = field === 'mean' ? 'finite' : 'positive';
    throw new UserError(
      `${where}: ${field} is [${values}]; the input has ${channels} channel${channels === 1 ? '' : 's'}, give one ${kind} number for each`,
    );
  }
  return spread;
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function oneOf<T extends string>(field: string, value: string, allowed: readonly T[], where: string): T {
  const match = allowed.find((name) => name === value);
  if (match) return match;
  throw new UserError(`${where}: ${field} "${value}" is not supported; use ${allowed.join(' or ')}`);
}
