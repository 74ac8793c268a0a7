import { inputOf } from '../model-input.ts';
import type { ShownVariant } from '../protocol.ts';

/** Something that can be drawn, and its size. */
export type Picture = HTMLImageElement | HTMLVideoElement;

const sizeOf = (picture: Picture): [width: number, height: number] =>
  picture instanceof HTMLVideoElement
    ? [picture.videoWidth, picture.videoHeight]
    : [picture.naturalWidth, picture.naturalHeight];

/**
 * A picture as a file takes it. The browser resizes, by a filter of its own: good enough to see a model work, not to measure
 * its accuracy.
 */
export function pictureInput({ input, fit }: ShownVariant, picture: Picture): Float32Array | Uint8Array {
  const [, height, width] = input.size;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.imageSmoothingQuality = 'high';
  const [w, h] = sizeOf(picture);
  const over = fit.cropMode === 'border' ? Math.min : Math.max;
  const scale = over(width / w, height / h) / fit.cropPct;
  const [x, y] =
    fit.cropMode === 'squash' ? [width / fit.cropPct, height / fit.cropPct] : [w * scale, h * scale];
  context.drawImage(picture, (width - x) / 2, (height - y) / 2, x, y);
  const { data } = context.getImageData(0, 0, width, height);
  return inputOf(input, { width, height, channels: 4, pixels: data });
}

/** The best classes, and how sure the model is of each. */
export function bestClasses({ classNames, scores }: ShownVariant, outputs: Float32Array, count: number) {
  const most = outputs.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = scores === 'probabilities' ? outputs : outputs.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, one) => total + one, 0);
  return [...powers.keys()]
    .sort((a, b) => powers[b]! - powers[a]!)
    .slice(0, count)
    .map((index) => ({ name: classNames?.[index] ?? `class ${index}`, share: powers[index]! / sum }));
}
