import { type Random, shuffled } from '../../common/random.ts';
import type { RawImage } from '../dataset.ts';
import { brightness, color, contrast } from './tones.ts';

const ways = [brightness, contrast, color];

/**
 * Brightness, contrast and colour multiplied by factors between `1 - share` and `1 + share`, one after the other in any
 * order, as torchvision's `ColorJitter` with one number for all three.
 */
export function jittered(image: RawImage, share: number, random: Random): RawImage {
  const order = shuffled(Uint32Array.of(0, 1, 2), random);
  let changed = image;
  for (const way of order) changed = ways[way]!(changed, random.uniform(Math.max(0, 1 - share), 1 + share));
  return changed;
}
