/** How a file takes an image, as its card says. */
export interface InputForm {
  readonly name: string;
  readonly dtype: 'float32' | 'uint8';
  /** Of one image; `[1, C, H, W]` or `[1, H, W, C]`. */
  readonly shape: readonly number[];
  readonly layout: 'NCHW' | 'NHWC';
  /** `[C, H, W]` */
  readonly size: readonly [channels: number, height: number, width: number];
  /** Per channel: value = pixel * scale + offset. */
  readonly scale: readonly number[];
  readonly offset: readonly number[];
}

/**
 * A few large pixels, as in the golden sample of a card, or as many as the input has: bytes row by row, the channels of a pixel
 * side by side; of four, the last (alpha) is not looked at.
 */
export interface Tiles {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly pixels: ArrayLike<number>;
}

/** Tiles enlarged to the input's size by repeating pixels, scaled and laid out as the file takes them. */
export function inputOf(form: InputForm, tiles: Tiles): Float32Array | Uint8Array {
  const [channels, height, width] = form.size;
  const values =
    form.dtype === 'uint8'
      ? new Uint8Array(channels * height * width)
      : new Float32Array(channels * height * width);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * tiles.height) / height) * tiles.width;
    for (let x = 0; x < width; x++) {
      const from = (row + Math.floor((x * tiles.width) / width)) * tiles.channels;
      for (let c = 0; c < channels; c++) {
        const to = form.layout === 'NCHW' ? (c * height + y) * width + x : (y * width + x) * channels + c;
        values[to] = tone(tiles, from, c, channels) * form.scale[c]! + form.offset[c]!;
      }
    }
  }
  return values;
}

/** A channel of a pixel; the grey of a colour by ITU-R 601-2. */
function tone({ pixels, channels }: Tiles, at: number, channel: number, wanted: number): number {
  if (wanted === 3 || channels < 3) return pixels[at + (channels < 3 ? 0 : channel)]!;
  return Math.round(0.299 * pixels[at]! + 0.587 * pixels[at + 1]! + 0.114 * pixels[at + 2]!);
}
