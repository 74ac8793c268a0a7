import { UserError } from '../common/errors.ts';
import type { Random } from '../common/random.ts';
import type { Augmentation, EraseMode, Range } from './augmentation.ts';
import type { Box } from './dataset.ts';
import type { Preprocessing } from './preprocessing.ts';
import { randAugmentOf } from './rand-augment/rand-augment.ts';

/** @throws UserError on a probability outside 0..1 or a range that is none */
export function checkAugmentation({ crop, flip, erase, jitter, randAugment }: Augmentation): void {
  if (randAugment !== undefined) randAugmentOf(randAugment);
  if (jitter !== undefined && !(jitter >= 0 && jitter <= 1)) {
    throw new UserError(`augmentation: jitter is ${jitter}; it is a share, 0 to 1`);
  }
  for (const [name, value] of Object.entries({ flip, erase })) {
    if (value !== undefined && !(value >= 0 && value <= 1)) {
      throw new UserError(`augmentation: ${name} is ${value}; it is a probability, 0 to 1`);
    }
  }
  if (crop?.kind === 'shift' && !(Number.isInteger(crop.pixels) && crop.pixels >= 0)) {
    throw new UserError(`augmentation: shift by ${crop.pixels} pixels; give a whole number`);
  }
  if (crop?.kind === 'resized') {
    for (const [name, range] of Object.entries({ scale: crop.scale, ratio: crop.ratio })) {
      if (range && !(range[0] > 0 && range[0] <= range[1])) {
        throw new UserError(`augmentation: ${name} [${range}] must be two positive numbers, low to high`);
      }
    }
  }
}

/**
 * The part of an image a random resized crop shows (Szegedy et al., 2015; as timm's
 * `RandomResizedCropAndInterpolation`): ten tries to place a box of random area and aspect ratio
 * inside, then the centred box that is nearest to the allowed ratios.
 */
export function randomBox(
  image: { width: number; height: number },
  { scale = [0.08, 1], ratio = [3 / 4, 4 / 3] }: { scale?: Range; ratio?: Range },
  random: Random,
): Box {
  const area = image.width * image.height;
  for (let attempt = 0; attempt < 10; attempt++) {
    const target = random.uniform(...scale) * area;
    const aspect = Math.exp(random.uniform(Math.log(ratio[0]), Math.log(ratio[1])));
    const width = Math.round(Math.sqrt(target * aspect));
    const height = Math.round(Math.sqrt(target / aspect));
    if (width < 1 || height < 1 || width > image.width || height > image.height) continue;
    const top = random.below(image.height - height + 1);
    const left = random.below(image.width - width + 1);
    return { left, top, width, height };
  }
  const aspect = image.width / image.height;
  const width = aspect > ratio[1] ? Math.round(image.height * ratio[1]) : image.width;
  const height = aspect < ratio[0] ? Math.round(image.width / ratio[0]) : image.height;
  return {
    left: Math.floor((image.width - width) / 2),
    top: Math.floor((image.height - height) / 2),
    width,
    height,
  };
}

/**
 * Random erasing (Zhong et al., 2017; as timm): a rectangle of 2 % to a third of the image, of aspect ratio 0.3 to
 * 1/0.3, becomes standard normal noise, one colour of it, or 0.
 * @param pixels normalized `[C, H, W]`, changed in place
 */
export function eraseRectangle(
  pixels: Float32Array,
  [channels, height, width]: Preprocessing['inputSize'],
  random: Random,
  mode: EraseMode = 'pixel',
): void {
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = random.uniform(0.02, 1 / 3) * height * width;
    const aspect = Math.exp(random.uniform(Math.log(0.3), -Math.log(0.3)));
    const h = Math.round(Math.sqrt(area * aspect));
    const w = Math.round(Math.sqrt(area / aspect));
    if (h < 1 || w < 1 || h >= height || w >= width) continue;
    const top = random.below(height - h + 1);
    const left = random.below(width - w + 1);
    for (let c = 0; c < channels; c++) {
      const colour = mode === 'rand' ? random.normal() : 0;
      for (let y = top; y < top + h; y++) {
        const row = (c * height + y) * width + left;
        for (let i = row; i < row + w; i++) pixels[i] = mode === 'pixel' ? random.normal() : colour;
      }
    }
    return;
  }
}
