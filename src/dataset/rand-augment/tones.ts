import type { RawImage } from '../dataset.ts';
import { toGrey } from '../pixels.ts';

/** What becomes of each of 256 tones, by channel. */
type Tones = (tone: number) => number;

const mapped = (image: RawImage, tonesOf: (channel: number) => Tones): RawImage => {
  const { channels, data } = image;
  const tables = Array.from({ length: channels }, (_, k) => {
    const tones = tonesOf(k);
    return Uint8Array.from({ length: 256 }, (_, tone) => tones(tone));
  });
  return { ...image, data: data.map((tone, i) => tables[i % channels]![tone]!) };
};

function histogram({ channels, data }: RawImage, channel: number): number[] {
  const counts = Array<number>(256).fill(0);
  for (let i = channel; i < data.length; i += channels) counts[data[i]!]!++;
  return counts;
}

const same: Tones = (tone) => tone;
const clipped = (value: number): number => Math.min(255, Math.max(0, Math.trunc(value)));

/** Pillow's `ImageOps.autocontrast`: the darkest tone of a channel becomes 0, the brightest 255. */
export const autocontrast = (image: RawImage): RawImage =>
  mapped(image, (channel) => {
    const counts = histogram(image, channel);
    const [low, high] = [counts.findIndex(Boolean), counts.findLastIndex(Boolean)];
    if (high <= low) return same;
    const scale = 255 / (high - low);
    return (tone) => clipped(tone * scale - low * scale);
  });

/** Pillow's `ImageOps.equalize`: every tone of a channel about as often as another. */
export const equalize = (image: RawImage): RawImage =>
  mapped(image, (channel) => {
    const counts = histogram(image, channel);
    const present = counts.filter(Boolean);
    const step = Math.floor((present.reduce((sum, count) => sum + count, 0) - present.at(-1)!) / 255);
    if (present.length <= 1 || step === 0) return same;
    let total = Math.floor(step / 2);
    const tones = counts.map((count) => {
      const tone = Math.floor(total / step);
      total += count;
      return tone;
    });
    return (tone) => tones[tone]! & 255;
  });

export const invert = (image: RawImage): RawImage => mapped(image, () => (tone) => 255 - tone);

/** Keeps so many of a tone's upper bits. */
export const posterize = (image: RawImage, bits: number): RawImage =>
  bits >= 8 ? image : mapped(image, () => (tone) => tone & ~(2 ** (8 - bits) - 1));

/** Inverts tones from a threshold on. */
export const solarize = (image: RawImage, threshold: number): RawImage =>
  mapped(image, () => (tone) => (tone < threshold ? tone : 255 - tone));

/** Brightens tones below the middle. */
export const solarizeAdd = (image: RawImage, added: number): RawImage =>
  mapped(image, () => (tone) => (tone < 128 ? Math.min(255, tone + added) : tone));

/** Pillow's `Image.blend(from, image, factor)`: beyond 0 to 1 it exaggerates. */
function blended(image: RawImage, factor: number, from: (i: number) => number): RawImage {
  const alpha = Math.fround(factor);
  const data = image.data.map((tone, i) => {
    const base = from(i);
    return clipped(Math.fround(base + Math.fround(alpha * (tone - base))));
  });
  return { ...image, data };
}

/** 0: grey, 1: as it is, above: more colourful. */
export function color(image: RawImage, factor: number): RawImage {
  const { data } = toGrey(image);
  return blended(image, factor, (i) => data[Math.floor(i / image.channels)]!);
}

/** 0: all of the mean tone, 1: as it is, above: more contrast. */
export function contrast(image: RawImage, factor: number): RawImage {
  const { data } = toGrey(image);
  const mean = Math.floor(data.reduce((sum, tone) => sum + tone, 0) / data.length + 0.5);
  return blended(image, factor, () => mean);
}

/** 0: black, 1: as it is, above: brighter. */
export const brightness = (image: RawImage, factor: number): RawImage => blended(image, factor, () => 0);

/** 0: smoothed, 1: as it is, above: sharper. */
export function sharpness(image: RawImage, factor: number): RawImage {
  const smooth = smoothed(image);
  return blended(image, factor, (i) => smooth[i]!);
}

/** Pillow's filter SMOOTH: a middle that weighs five times a neighbour; the edge stays. */
function smoothed({ width, height, channels, data }: RawImage): Uint8Array {
  const out = data.slice();
  const stride = width * channels;
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * stride + channels; i < (y + 1) * stride - channels; i++) {
      let sum = 4 * data[i]!;
      for (const row of [i - stride, i, i + stride]) {
        sum += data[row - channels]! + data[row]! + data[row + channels]!;
      }
      out[i] = sum / 13 + 0.5;
    }
  }
  return out;
}
