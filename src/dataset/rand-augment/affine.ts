import type { RawImage } from '../dataset.ts';

/** `x' = a x + b y + c`, `y' = d x + e y + f`: where in the source a pixel of the result comes from. */
export type Affine = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/**
 * An image seen through an affine map, of the same size, as Pillow's `Image.transform` with bilinear interpolation:
 * places outside become `fill`, weights are exact, and results are cut to whole numbers.
 */
export function transformed(image: RawImage, map: Affine, fill: readonly number[]): RawImage {
  const { width, height, channels, data } = image;
  const [a, b, c, d, e, f] = map;
  const out = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += channels) {
      const sourceX = a * (x + 0.5) + b * (y + 0.5) + c;
      const sourceY = d * (x + 0.5) + e * (y + 0.5) + f;
      const outside = sourceX < 0 || sourceX >= width || sourceY < 0 || sourceY >= height;
      if (outside) for (let k = 0; k < channels; k++) out[to + k] = fill[k % fill.length]!;
      else sample(image, sourceX - 0.5, sourceY - 0.5, out, to);
    }
  }
  return { ...image, data: out };
}

/** The four neighbours of a place, those beyond an edge being the edge. */
function sample(
  { width, height, channels, data }: RawImage,
  x: number,
  y: number,
  out: Uint8Array,
  to: number,
) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [dx, dy] = [x - left, y - top];
  const column = (at: number) => Math.min(Math.max(at, 0), width - 1) * channels;
  const [x0, x1] = [column(left), column(left + 1)];
  const row = Math.min(Math.max(top, 0), height - 1) * width * channels;
  const below = top + 1 >= 0 && top + 1 < height ? (top + 1) * width * channels : row;
  for (let k = 0; k < channels; k++) {
    const upper = data[row + x0 + k]! * (1 - dx) + data[row + x1 + k]! * dx;
    const lower = data[below + x0 + k]! * (1 - dx) + data[below + x1 + k]! * dx;
    out[to + k] = upper * (1 - dy) + lower * dy;
  }
}

/** The map of Pillow's `Image.rotate`: by degrees, against the clock, around the middle. */
export function rotation({ width, height }: RawImage, degrees: number): Affine {
  const angle = (-degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)].map((value) => Number(value.toFixed(15))) as [
    number,
    number,
  ];
  const [x, y] = [width / 2, height / 2];
  return [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y];
}
