import type { Random } from '../common/random.ts';
import { checkAugmentation, eraseRectangle, randomBox } from './augment.ts';
import type { Augmentation } from './augmentation.ts';
import type { RawImage, View, Viewer } from './dataset.ts';
import { evalGeometry, ignoresInterpolation, roundHalfEven } from './geometry.ts';
import { createNormalizer, cut, frameOf, toGrey, window } from './pixels.ts';
import type { Interpolation, Preprocessing } from './preprocessing.ts';
import { jittered } from './rand-augment/jitter.ts';
import { randAugmented, randAugmentOf } from './rand-augment/rand-augment.ts';
import type { Resampler } from './resample.ts';

/** Images of more pixels are resized one at a time: in floating point each takes hundreds of megabytes. */
const largePixels = 8_000_000;

export const isLarge = ({ width, height }: RawImage): boolean => width * height > largePixels;

/** Writes a prepared image as normalized `[C, H, W]` floats. */
export type Prepare = (image: RawImage, out: Float32Array) => Promise<void>;

/**
 * The evaluation transform of timm: resize, crop, normalize. The same image gives the same floats as
 * timm with Pillow, up to one grey level where the two round differently.
 */
export function evalPreparation(preprocessing: Preprocessing, resampler: Resampler): Prepare {
  return preparation(preprocessing, resampler).evaluate;
}

/** One training image in preparation: what is drawn for it does not depend on who resizes. */
export interface TrainingImage {
  /** What is to be seen of the image; absent where that is all of it. */
  readonly viewer?: Viewer;
  /** Writes the image, or what of it was to be seen, as normalized `[C, H, W]` floats. */
  write(image: RawImage, out: Float32Array): Promise<void>;
}

/** Begins the preparation of a training image, drawing from `random`. */
export type TrainPrepare = (random: Random) => TrainingImage;

/**
 * Changes an image at random as `augmentation` says, in timm's order: crop, flip, RandAugment, jitter; normalization;
 * erasing.
 */
export function trainPreparation(
  preprocessing: Preprocessing,
  augmentation: Augmentation,
  resampler: Resampler,
): TrainPrepare {
  checkAugmentation(augmentation);
  const { crop, flip = 0, erase = 0, eraseMode, randAugment, jitter = 0 } = augmentation;
  const { inputSize, interpolation, mean } = preprocessing;
  const [, height, width] = inputSize;
  const { normalizer, convert, evalInterpolation } = preparation(preprocessing, resampler);
  const changes = randAugment === undefined ? undefined : randAugmentOf(randAugment);
  const fill = mean.map((share) => Math.min(255, roundHalfEven(255 * share)));
  const changed = (image: RawImage, random: Random): RawImage => {
    const first = changes ? randAugmented(image, changes, fill, random) : image;
    return jitter > 0 ? jittered(first, jitter, random) : first;
  };
  const begin = (random: Random): TrainingImage => {
    const mirror = flip > 0 && random.uniform() < flip;
    if (crop?.kind !== 'resized') return { write: (image, out) => write(image, out, random, mirror) };
    let view: View | undefined;
    const viewer: Viewer = (size) => {
      view ??= { box: randomBox(size, crop, random), width, height, interpolation };
      return view;
    };
    return { viewer, write: (image, out) => write(image, out, random, mirror, viewer) };
  };
  const write = async (
    image: RawImage,
    out: Float32Array,
    random: Random,
    mirror: boolean,
    viewer?: Viewer,
  ): Promise<void> => {
    const source = convert(image);
    let [from, left, top] = [source, 0, 0];
    const view = viewer?.(source);
    if (view && !image.view) {
      const { box } = view;
      const part = cut(source, box.left, box.top, box.width, box.height);
      from = await resampler.resize(part, width, height, interpolation);
    } else if (!view) {
      const geometry = evalGeometry(source, preprocessing);
      const { resize } = geometry;
      const reach = crop?.kind === 'shift' ? crop.pixels : 0;
      left = geometry.left + random.below(2 * reach + 1) - reach;
      top = geometry.top + random.below(2 * reach + 1) - reach;
      from = await resampler.resize(source, resize.width, resize.height, evalInterpolation);
    }
    if (changes || jitter > 0) {
      const seen = window(from, { left, top, width, height, mirror }, frameOf(preprocessing));
      normalizer.write(changed(seen, random), 0, 0, false, out);
    } else normalizer.write(from, left, top, mirror, out);
    if (erase > 0 && random.uniform() < erase) eraseRectangle(out, inputSize, random, eraseMode);
  };
  return begin;
}

function preparation(preprocessing: Preprocessing, resampler: Resampler) {
  const normalizer = createNormalizer(preprocessing);
  const evalInterpolation: Interpolation = ignoresInterpolation(preprocessing)
    ? 'bilinear'
    : preprocessing.interpolation;
  const convert = preprocessing.inputSize[0] === 1 ? toGrey : (image: RawImage) => image;
  const evaluate: Prepare = async (image, out) => {
    const source = convert(image);
    const { resize, left, top } = evalGeometry(source, preprocessing);
    const resized = await resampler.resize(source, resize.width, resize.height, evalInterpolation);
    normalizer.write(resized, left, top, false, out);
  };
  return { normalizer, convert, evalInterpolation, evaluate };
}
