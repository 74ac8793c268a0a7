import type { Random } from '../common/random.ts';
import { type Augmentation, checkAugmentation, eraseRectangle, randomBox } from './augment.ts';
import type { RawImage } from './dataset.ts';
import { evalGeometry, ignoresInterpolation } from './geometry.ts';
import { createNormalizer, cut, toGrey } from './pixels.ts';
import type { Interpolation, Preprocessing } from './preprocessing.ts';
import type { Resampler } from './resample.ts';

/** Writes a prepared image as normalized `[C, H, W]` floats. */
export type Prepare = (image: RawImage, out: Float32Array) => Promise<void>;

/**
 * The evaluation transform of timm: resize, crop, normalize. The same image gives the same floats as
 * timm with Pillow, up to one grey level where the two round differently.
 */
export function evalPreparation(preprocessing: Preprocessing, resampler: Resampler): Prepare {
  return preparation(preprocessing, resampler).evaluate;
}

/** The preparation of a training image, drawing from `random`. */
export type TrainPrepare = (image: RawImage, out: Float32Array, random: Random) => Promise<void>;

/** Crop, flip and erase at random, as `augmentation` says, around the same resize and normalization. */
export function trainPreparation(
  preprocessing: Preprocessing,
  augmentation: Augmentation,
  resampler: Resampler,
): TrainPrepare {
  checkAugmentation(augmentation);
  const { crop, flip = 0, erase = 0 } = augmentation;
  const { inputSize, interpolation } = preprocessing;
  const [, height, width] = inputSize;
  const { normalizer, convert, evalInterpolation } = preparation(preprocessing, resampler);
  return async (image, out, random) => {
    const source = convert(image);
    const mirror = flip > 0 && random.uniform() < flip;
    if (crop?.kind === 'resized') {
      const box = randomBox(source, crop, random);
      const part = cut(source, box.left, box.top, box.width, box.height);
      normalizer.write(await resampler.resize(part, width, height, interpolation), 0, 0, mirror, out);
    } else {
      const { resize, left, top } = evalGeometry(source, preprocessing);
      const reach = crop?.pixels ?? 0;
      const dx = random.below(2 * reach + 1) - reach;
      const dy = random.below(2 * reach + 1) - reach;
      const resized = await resampler.resize(source, resize.width, resize.height, evalInterpolation);
      normalizer.write(resized, left + dx, top + dy, mirror, out);
    }
    if (erase > 0 && random.uniform() < erase) eraseRectangle(out, inputSize, random);
  };
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
