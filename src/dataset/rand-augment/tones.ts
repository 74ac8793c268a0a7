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
  const out = new Uint8Array(data.length);
  tables.forEach((table, channel) => {
    for (let i = channel; i < data.length; i += channels) out[i] = table[data[i]!]!;
  });
  return { ...image, data: out };
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

/** Pillow's `Image.blend` of a tone with another, in float32: beyond 0 to 1 it exaggerates. */
const between = (alpha: number, base: number, tone: number): number => {
  const value = Math.fround(base + Math.fround(alpha * (tone - base)));
  return value < 0 ? 0 : value > 255 ? 255 : Math.trunc(value);
};

/** Every pixel blended with one tone. */
const blendedWithTone = (image: RawImage, factor: number, base: number): RawImage => {
  const alpha = Math.fround(factor);
  return mapped(image, () => (tone) => between(alpha, base, tone));
};

/** Blended with an image of the same size, of as many channels or of one. */
function blended(image: RawImage, factor: number, { channels, data: base }: RawImage): RawImage {
  const alpha = Math.fround(factor);
  const { data } = image;
  const out = new Uint8Array(data.length);
  const each = image.channels / channels;
  for (let i = 0, from = 0; i < data.length; from++) {
    for (const end = i + each; i < end; i++) out[i] = between(alpha, base[from]!, data[i]!);
  }
  return { ...image, data: out };
}

/** 0: grey, 1: as it is, above: more colourful. */
export const color = (image: RawImage, factor: number): RawImage => blended(image, factor, toGrey(image));

/** 0: all of the mean tone, 1: as it is, above: more contrast. */
export function contrast(image: RawImage, factor: number): RawImage {
  const { data } = toGrey(image);
  let sum = 0;
  for (const tone of data) sum += tone;
  return blendedWithTone(image, factor, Math.floor(sum / data.length + 0.5));
}

/** 0: black, 1: as it is, above: brighter. */
export const brightness = (image: RawImage, factor: number): RawImage => blendedWithTone(image, factor, 0);

/** 0: smoothed, 1: as it is, above: sharper. */
export const sharpness = (image: RawImage, factor: number): RawImage =>
  blended(image, factor, { ...image, data: smoothed(image) });

/** Pillow's filter SMOOTH: a middle that weighs five times a neighbour; the edge stays. */
function smoothed({ width, height, channels, data }: RawImage): Uint8Array {
  const out = data.slice();
  const stride = width * channels;
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * stride + channels; i < (y + 1) * stride - channels; i++) {
      let sum = 4 * data[i]!;
      for (let row = i - stride; row <= i + stride; row += stride) {
        sum += data[row - channels]! + data[row]! + data[row + channels]!;
      }
      out[i] = sum / 13 + 0.5;
    }
  }
  return out;
}
