import type { RawImage } from './dataset.ts';
import { roundHalfEven } from './geometry.ts';
import type { Preprocessing } from './preprocessing.ts';

/** Turns 8-bit images into normalized floats, window by window. */
export interface Normalizer {
  /**
   * Writes the window whose corner is at (`left`, `top`) of the image as `[C, H, W]` floats.
   * What lies outside the image is filled as the crop mode asks for.
   * @param mirror flip left and right
   */
  write(image: RawImage, left: number, top: number, mirror: boolean, out: Float32Array): void;
}

/**
 * `(value / 255 - mean) / std`, in float32 and in the order of torchvision's `ToTensor` and
 * `Normalize`, so that the results are theirs bit for bit. There are only 256 values a channel: a table.
 */
export function createNormalizer({ inputSize, mean, std, cropMode }: Preprocessing): Normalizer {
  const [channels, height, width] = inputSize;
  const tables = Array.from({ length: channels }, (_, c) => {
    const center = Math.fround(mean[c]!);
    const scale = Math.fround(std[c]!);
    return Float32Array.from({ length: 256 }, (_, v) => Math.fround(Math.fround(v / 255) - center) / scale);
  });
  const framing = frameOf({ mean, cropMode });
  const frame = tables.map((table, c) => table[framing[c]!]!);
  return {
    write(image, left, top, mirror, out) {
      const { data, channels: stride } = image;
      const firstX = Math.max(0, -left);
      const endX = Math.min(width, image.width - left);
      const framed = firstX > 0 || endX < width || top < 0 || top + height > image.height;
      const area = height * width;
      if (framed) for (let c = 0; c < channels; c++) out.fill(frame[c]!, c * area, (c + 1) * area);
      const step = mirror ? -1 : 1;
      // The channels of a row one after the other: its bytes are still at hand.
      for (let y = Math.max(0, -top); y < height && y + top < image.height; y++) {
        const start = ((y + top) * image.width + firstX + left) * stride;
        const end = start + (endX - firstX) * stride;
        const row = y * width + (mirror ? width - 1 - firstX : firstX);
        for (let c = 0; c < channels; c++) {
          const table = tables[c]!;
          let to = c * area + row;
          for (let from = start + (stride === 1 ? 0 : c); from < end; from += stride, to += step) {
            out[to] = table[data[from]!]!;
          }
        }
      }
    },
  };
}

/** The tone of each channel outside an image: border mode frames with the mean colour, the others with black. */
export const frameOf = ({ mean, cropMode }: Pick<Preprocessing, 'mean' | 'cropMode'>): number[] =>
  mean.map((share) => (cropMode === 'border' ? roundHalfEven(255 * share) : 0));

/** Part of an image, perhaps mirrored; what lies outside has the tones of the frame. All of it is the image itself. */
export function window(
  image: RawImage,
  box: { left: number; top: number; width: number; height: number; mirror: boolean },
  frame: readonly number[],
): RawImage {
  const { channels } = image;
  const { left, top, width, height, mirror } = box;
  const isAll = left === 0 && top === 0 && width === image.width && height === image.height;
  if (isAll && !mirror) return image;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += channels) {
      const [fromX, fromY] = [left + (mirror ? width - 1 - x : x), top + y];
      const inside = fromX >= 0 && fromX < image.width && fromY >= 0 && fromY < image.height;
      const from = (fromY * image.width + fromX) * channels;
      for (let k = 0; k < channels; k++) {
        data[to + k] = inside ? image.data[from + k]! : frame[k % frame.length]!;
      }
    }
  }
  return { width, height, channels, data };
}

/** Part of an image, as a copy. The box must lie inside. */
export function cut(image: RawImage, left: number, top: number, width: number, height: number): RawImage {
  const { channels } = image;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * image.width + left) * channels;
    data.set(image.data.subarray(start, start + width * channels), y * width * channels);
  }
  return { width, height, channels, data };
}

/** Luma of a colour image as Pillow's `convert('L')` has it: ITU-R 601-2 in 16-bit fixed point. */
export function toGrey(image: RawImage): RawImage {
  if (image.channels === 1) return image;
  const { width, height, data } = image;
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = (data[3 * i]! * 19595 + data[3 * i + 1]! * 38470 + data[3 * i + 2]! * 7471 + 0x8000) >> 16;
  }
  return { width, height, channels: 1, data: grey };
}
