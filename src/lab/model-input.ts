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

/** A few large pixels, as in the golden sample of a card: bytes row by row, the channels of a pixel side by side. */
export interface Tiles {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly pixels: Uint8Array;
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
        values[to] = tiles.pixels[from + (tiles.channels === 1 ? 0 : c)]! * form.scale[c]! + form.offset[c]!;
      }
    }
  }
  return values;
}
