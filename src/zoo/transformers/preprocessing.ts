import { UserError } from '../../common/errors.ts';
import { parseJson } from '../../common/json.ts';
import { quoted } from '../../common/quoted.ts';
import { fromTimmConfig, type Preprocessing } from '../../dataset/preprocessing.ts';

/** How a preprocessor_config.json has images prepared, for a model of `[C, H, W]`. */
export interface TransformersPreprocessing {
  readonly preprocessing: Preprocessing;
  /** The model takes blue before red. */
  readonly reversedChannels: boolean;
}

type Json = Readonly<Record<string, unknown>>;
const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** PIL's numbers of filters, as `resample` has them. */
const filters = new Map<unknown, string>([
  [2, 'bilinear'],
  [3, 'bicubic'],
]);

/**
 * The preprocessing of a preprocessor_config.json.
 * @param channels that the model takes
 * @param edge of the images it was built for, where the file does not say
 * @throws UserError naming the field that can't be honoured
 */
export function readPreprocessor(
  text: string,
  path: string,
  channels: number,
  edge: readonly number[],
): TransformersPreprocessing {
  const config = parseJson(text, path);
  if (!isRecord(config)) throw new UserError(`${path} is not a JSON object`);
  const resized = config.do_resize === false ? undefined : sizeOf(config.size);
  const cropped = config.do_center_crop ? sizeOf(config.crop_size ?? config.size) : undefined;
  const shortest = isRecord(config.size) ? config.size.shortest_edge : undefined;
  const pct = typeof config.crop_pct === 'number' ? config.crop_pct : undefined;
  const input = cropped?.edges ?? resized?.edges ?? edge;
  const keepsAspect =
    typeof shortest === 'number' || (typeof config.size === 'number' && cropped !== undefined);
  const scaled = typeof shortest === 'number' ? shortest : resized?.edges[0];
  const share = cropped && scaled ? Math.min(1, input[0]! / scaled) : (pct ?? 1);
  const resample = config.resample ?? 3;
  const interpolation = filters.get(resample);
  if (!interpolation)
    throw new UserError(`${path}: resample ${quoted(resample)} is not supported; 2 and 3 are`);
  return {
    preprocessing: fromTimmConfig(
      {
        input_size: [channels, ...input],
        ...normalization(config, path),
        interpolation,
        crop_pct: share,
        crop_mode: keepsAspect ? 'center' : 'squash',
      },
      path,
    ),
    reversedChannels: config.do_flip_channel_order === true,
  };
}

/** `224`, `{ height, width }`, or `{ shortest_edge }`. */
function sizeOf(value: unknown): { edges: readonly [number, number] } | undefined {
  const pair = (height: unknown, width: unknown) =>
    typeof height === 'number' && typeof width === 'number' ? { edges: [height, width] as const } : undefined;
  if (!isRecord(value)) return pair(value, value);
  return pair(value.height, value.width) ?? pair(value.shortest_edge, value.shortest_edge);
}

/**
 * Mean and deviation of pixels in 0..1. Where pixels are not divided by 255 but multiplied by something else, what
 * the model sees is the same with both divided by that.
 */
function normalization(config: Json, path: string): { mean: readonly number[]; std: readonly number[] } {
  const numbers = (name: string): readonly number[] => {
    const value = config[name];
    if (Array.isArray(value) && value.every((item) => typeof item === 'number')) return value as number[];
    throw new UserError(`${path}: ${name} is ${quoted(value)}; it must be a list of numbers`);
  };
  const factor = config.do_rescale === false ? 1 : config.rescale_factor;
  const scale = 255 * (typeof factor === 'number' && factor > 0 ? factor : 1 / 255);
  const normalized = config.do_normalize !== false;
  const mean = normalized ? numbers('image_mean') : [0];
  const std = normalized ? numbers('image_std') : [1];
  return { mean: mean.map((value) => value / scale), std: std.map((value) => value / scale) };
}
