/**
 * What an app does with a file's card (`model.tflite.json`, docs/app-files.md), in plain TypeScript for any engine: prepare an
 * image, test itself by the golden sample, name the five best. Copy it into your app.
 */

export interface Card {
  inputs: { name: string; dtype: string | null; shape: (number | string)[] }[];
  outputs: { name: string }[];
  image: {
    layout: 'NCHW' | 'NHWC';
    scale: number[];
    offset: number[];
    preprocessing: {
      inputSize: readonly [channels: number, height: number, width: number];
      mean: readonly number[];
      interpolation: 'bicubic' | 'bilinear';
      cropPct: number;
      cropMode: 'center' | 'squash' | 'border';
    };
  } | null;
  classNames: string[] | null;
  golden: {
    image: { width: number; height: number; channels: number; pixels: string };
    top5: readonly { index: number; score: number }[];
    tolerance: number;
  } | null;
}

/** Bytes row by row, the channels of a pixel side by side; of four channels the last (alpha) is not looked at. */
export interface Pixels {
  width: number;
  height: number;
  channels: number;
  data: ArrayLike<number>;
}

type ImageCard = NonNullable<Card['image']>;

/** The card of a model that takes images. */
export function imageOf({ image }: Card): ImageCard {
  if (!image) throw new Error('this model takes something else than an image');
  return image;
}

/** The image of the golden sample at the size of the input: every pixel repeated. */
export function goldenPixels(card: Card): Pixels {
  if (!card.golden) throw new Error('this card has no golden sample');
  const [, height, width] = imageOf(card).preprocessing.inputSize;
  const { image } = card.golden;
  const bytes = Uint8Array.from(atob(image.pixels), (letter) => letter.charCodeAt(0));
  const data = new Uint8Array(width * height * image.channels);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const row = Math.floor((y * image.height) / height) * image.width;
      const from = (row + Math.floor((x * image.width) / width)) * image.channels;
      for (let c = 0; c < image.channels; c++, to++) data[to] = bytes[from + c]!;
    }
  }
  return { width, height, channels: image.channels, data };
}

/** Whether the scores of the golden sample are those that the model must give. */
export const isGolden = ({ golden }: Card, scores: ArrayLike<number>): boolean =>
  golden!.top5.every(({ index, score }) => Math.abs(scores[index]! - score) <= golden!.tolerance);

/** The five best, by name. */
export function topFive({ classNames }: Card, scores: ArrayLike<number>): { name: string; score: number }[] {
  return Array.from(scores, (score, index) => ({ name: classNames?.[index] ?? `class ${index}`, score }))
    .sort((a, b) => b.score - a.score)
    .slice(0, 5);
}

/** The input of the model, in the file's layout and type, of an image that has its size already. */
export function toInput(card: Card, { width, height, channels, data }: Pixels): Float32Array | Uint8Array {
  const { layout, scale, offset, preprocessing } = imageOf(card);
  const [depth] = preprocessing.inputSize;
  const length = width * height * depth;
  const input = card.inputs[0]!.dtype === 'uint8' ? new Uint8Array(length) : new Float32Array(length);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let c = 0; c < depth; c++) {
      const at = layout === 'NCHW' ? c * width * height + pixel : pixel * depth + c;
      input[at] = tone(data, pixel * channels, c, channels, depth) * scale[c]! + offset[c]!;
    }
  }
  return input;
}

/** A channel of a pixel; grey of a colour by ITU-R 601-2. */
function tone(data: ArrayLike<number>, at: number, channel: number, channels: number, depth: number): number {
  if (depth === 3 || channels < 3) return data[at + (channels < 3 ? 0 : channel)]!;
  return Math.round(0.299 * data[at]! + 0.587 * data[at + 1]! + 0.114 * data[at + 2]!);
}

/** An upright image of any size, resized and cropped as the card says. */
export function fitted(card: Card, image: Pixels): Pixels {
  const { inputSize, cropPct, cropMode, interpolation, mean } = imageOf(card).preprocessing;
  const [, height, width] = inputSize;
  const [w, h] = [Math.floor(width / cropPct), Math.floor(height / cropPct)];
  const size = sizeFor(image, [w, h], cropMode);
  const filter = interpolation === 'bicubic' ? cubic : triangle;
  const wide = resized(image, size[0]!, filter, 'columns');
  const whole = resized(wide, size[1]!, filter, 'rows');
  const [left, top] = [corner(whole.width, width), corner(whole.height, height)];
  const { channels } = image;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inside = x + left >= 0 && x + left < whole.width && y + top >= 0 && y + top < whole.height;
      const from = ((y + top) * whole.width + x + left) * channels;
      for (let c = 0; c < channels; c++, to++)
        data[to] = inside
          ? whole.data[from + c]!
          : cropMode === 'border'
            ? Math.round(255 * (mean[c] ?? 1))
            : 0;
    }
  }
  return { width, height, channels, data };
}

/** Of the whole image, as torchvision rounds it. */
function sizeFor(
  image: Pixels,
  [w, h]: [number, number],
  mode: ImageCard['preprocessing']['cropMode'],
): number[] {
  const { width, height } = image;
  if (mode === 'squash') return [w, h];
  if (mode === 'center' && w === h) {
    const edge = (length: number) => Math.trunc((w * length) / Math.min(width, height));
    return [edge(width), edge(height)];
  }
  const ratio = (mode === 'border' ? Math.max : Math.min)(width / w, height / h);
  return [width, height].map((length) => Math.max(1, halfEven(length / ratio)));
}

const corner = (size: number, wanted: number): number =>
  wanted > size ? -Math.floor((wanted - size) / 2) : halfEven((size - wanted) / 2);

/** Python's `round`: halves go to the even neighbour. */
const halfEven = (value: number): number =>
  value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);

interface Filter {
  reach: number;
  weight(distance: number): number;
}

const triangle: Filter = { reach: 1, weight: (x) => Math.max(0, 1 - x) };
/** Keys' cubic with a = -0.5, as Pillow has it. */
const cubic: Filter = {
  reach: 2,
  weight: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0),
};

/** One axis at another length; where it gets shorter the filter is as much wider, so that every pixel counts. */
function resized(image: Pixels, length: number, { reach, weight }: Filter, axis: 'rows' | 'columns'): Pixels {
  const { channels, data } = image;
  const before = axis === 'rows' ? image.height : image.width;
  if (before === length) return image;
  const [width, height] = axis === 'rows' ? [image.width, length] : [length, image.height];
  const step = axis === 'rows' ? image.width * channels : channels;
  const stretch = Math.max(1, before / length);
  const result = new Uint8ClampedArray(width * height * channels);
  for (let i = 0; i < length; i++) {
    const center = ((i + 0.5) * before) / length;
    const first = Math.max(0, Math.floor(center - reach * stretch + 0.5));
    const end = Math.min(before, Math.floor(center + reach * stretch + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) =>
      weight(Math.abs(first + k + 0.5 - center) / stretch),
    );
    const sum = weights.reduce((total, one) => total + one, 0);
    for (let j = 0; j < (axis === 'rows' ? width : height); j++) {
      const from = axis === 'rows' ? j * channels : j * image.width * channels;
      const to = (axis === 'rows' ? i * width + j : j * width + i) * channels;
      for (let c = 0; c < channels; c++) {
        let value = 0;
        for (const [k, one] of weights.entries()) value += one * data[from + (first + k) * step + c]!;
        result[to + c] = value / sum;
      }
    }
  }
  return { width, height, channels, data: result };
}
