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
  const [lastX, lastY, stride] = [width - 1, height - 1, width * channels];
  const out = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += channels) {
      const sourceX = a * (x + 0.5) + b * (y + 0.5) + c;
      const sourceY = d * (x + 0.5) + e * (y + 0.5) + f;
      if (sourceX < 0 || sourceX >= width || sourceY < 0 || sourceY >= height) {
        for (let k = 0; k < channels; k++) out[to + k] = fill[k % fill.length]!;
        continue;
      }
      // Its four neighbours, those beyond an edge being the edge.
      const left = Math.floor(sourceX - 0.5);
      const top = Math.floor(sourceY - 0.5);
      const dx = sourceX - 0.5 - left;
      const dy = sourceY - 0.5 - top;
      const x0 = (left < 0 ? 0 : left) * channels;
      const x1 = (left >= lastX ? lastX : left + 1) * channels;
      const y0 = (top < 0 ? 0 : top) * stride;
      const y1 = (top >= lastY ? lastY : top + 1) * stride;
      for (let k = 0; k < channels; k++) {
        const upper = data[y0 + x0 + k]! * (1 - dx) + data[y0 + x1 + k]! * dx;
        const lower = data[y1 + x0 + k]! * (1 - dx) + data[y1 + x1 + k]! * dx;
        out[to + k] = upper * (1 - dy) + lower * dy;
      }
    }
  }
  return { ...image, data: out };
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
