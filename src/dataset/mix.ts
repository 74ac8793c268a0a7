import { UserError } from '../common/errors.ts';
import type { Random } from '../common/random.ts';
import { Tensor } from '../graph/tensor.ts';

/**
 * Training on blends of images and label distributions: mixup (Zhang et al., 2018) blends two images,
 * CutMix (Yun et al., 2019) pastes a box of one into another, label smoothing (Szegedy et al., 2015)
 * spreads a part of the label over all classes. As timm's `Mixup` in its `batch` mode: each batch is
 * mixed with itself in reverse order.
 */
export interface Mixing {
  readonly classes: number;
  /** Alpha of the Beta distribution the blend is drawn from; 0 or absent: no mixup. */
  readonly mixup?: number;
  /** Alpha for the share of the box; 0 or absent: no CutMix. Batches alternate at random when both are on. */
  readonly cutmix?: number;
  /** Share of the batches that are mixed at all; default 1. */
  readonly prob?: number;
  readonly labelSmoothing?: number;
}

/** @throws UserError on a negative alpha, or a share or smoothing outside 0..1 */
export function checkMixing({ classes, mixup = 0, cutmix = 0, prob = 1, labelSmoothing = 0 }: Mixing): void {
  if (!(mixup >= 0)) throw new UserError(`mixing: mixup alpha is ${mixup}; give 0 or more`);
  if (!(cutmix >= 0)) throw new UserError(`mixing: cutmix alpha is ${cutmix}; give 0 or more`);
  if (!(prob >= 0 && prob <= 1)) throw new UserError(`mixing: prob is ${prob}; it is a probability, 0 to 1`);
  if (!(labelSmoothing >= 0 && labelSmoothing < 1)) {
    throw new UserError(`mixing: label smoothing is ${labelSmoothing}; give 0 or more, below 1`);
  }
  if (!(classes >= 1)) throw new UserError(`mixing: ${classes} classes; the targets need at least 1`);
}

/**
 * Mixes a batch in place and returns its targets, float32 `[N, classes]`.
 * @param pixels `[N, C, H, W]`
 */
export function mixBatch(
  pixels: Float32Array,
  shape: readonly [count: number, channels: number, height: number, width: number],
  labels: readonly number[],
  mixing: Mixing,
  random: Random,
): Tensor {
  const { mixup = 0, cutmix = 0, prob = 1 } = mixing;
  let share = 1;
  if ((mixup > 0 || cutmix > 0) && (prob === 1 || random.uniform() < prob)) {
    const useCutmix = cutmix > 0 && (mixup === 0 || random.uniform() < 0.5);
    share = random.beta(useCutmix ? cutmix : mixup);
    if (useCutmix) share = pasteBox(pixels, shape, share, random);
    else blend(pixels, shape, share);
  }
  return softTargets(labels, share, mixing);
}

/** Every image becomes `share` of itself and the rest of its partner, the one as far from the other end. */
function blend(pixels: Float32Array, [count]: readonly number[], share: number): void {
  const size = pixels.length / count!;
  for (let i = 0; i < count! >> 1; i++) {
    const a = i * size;
    const b = (count! - 1 - i) * size;
    for (let k = 0; k < size; k++) {
      const x = pixels[a + k]!;
      const y = pixels[b + k]!;
      pixels[a + k] = x * share + y * (1 - share);
      pixels[b + k] = y * share + x * (1 - share);
    }
  }
}

/** Swaps a box of about `1 - share` of the area between partners; returns the share that was really kept. */
function pasteBox(
  pixels: Float32Array,
  [count, channels, height, width]: readonly [number, number, number, number],
  share: number,
  random: Random,
): number {
  const edge = Math.sqrt(1 - share);
  const [top, bottom] = interval(height, Math.trunc(height * edge), random);
  const [left, right] = interval(width, Math.trunc(width * edge), random);
  for (let i = 0; i < count >> 1; i++) {
    for (let c = 0; c < channels; c++) {
      for (let y = top; y < bottom; y++) {
        const a = ((i * channels + c) * height + y) * width;
        const b = (((count - 1 - i) * channels + c) * height + y) * width;
        const kept = pixels.slice(a + left, a + right);
        pixels.copyWithin(a + left, b + left, b + right);
        pixels.set(kept, b + left);
      }
    }
  }
  return 1 - ((bottom - top) * (right - left)) / (height * width);
}

/** `length` places around a random centre, cut off at the ends of `0..size`. */
function interval(size: number, length: number, random: Random): [start: number, end: number] {
  const center = random.below(size);
  return [Math.max(0, center - (length >> 1)), Math.min(size, center + ((length + 1) >> 1))];
}

function softTargets(labels: readonly number[], share: number, mixing: Mixing): Tensor {
  const { classes, labelSmoothing = 0 } = mixing;
  const count = labels.length;
  const targets = new Float32Array(count * classes).fill(labelSmoothing / classes);
  labels.forEach((label, i) => {
    targets[i * classes + label]! += (1 - labelSmoothing) * share;
    targets[i * classes + labels[count - 1 - i]!]! += (1 - labelSmoothing) * (1 - share);
  });
  return Tensor.float32([count, classes], targets);
}
