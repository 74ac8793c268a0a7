import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { bounded } from '../bounded.ts';
import { dimOf, type Layers } from './layers.ts';

type Pair = readonly [height: number, width: number];

/** A square window that slides over an image, with so many pixels outside of it on each side. */
export interface SlidingWindow {
  kernel: number;
  stride: number;
  padding: number;
}

/** How many places a window has along an axis. */
const placesOf = (length: number, { kernel, stride, padding }: SlidingWindow) =>
  Math.floor((length + 2 * padding - kernel) / stride) + 1;

/** For each place of a window, in reading order, the pixels that it sees; -1 is outside the image. */
function seenPixels([height, width]: Pair, window: SlidingWindow): number[][] {
  const { kernel, stride, padding } = window;
  const columns = placesOf(width, window);
  return Array.from({ length: bounded(placesOf(height, window) * columns) }, (_, place) =>
    Array.from({ length: bounded(kernel * kernel) }, (_, pixel) => {
      const row = Math.floor(place / columns) * stride - padding + Math.floor(pixel / kernel);
      const column = (place % columns) * stride - padding + (pixel % kernel);
      return row >= 0 && row < height && column >= 0 && column < width ? row * width + column : -1;
    }),
  );
}

/** Rows of `x` `[N, rows, C]` by index, `[N, ...shape, C]`; -1 is a row of zeros. */
function rowsAt(layers: Layers, x: Value, lists: readonly number[][], name: string): Value {
  const b = layers.builder;
  const count = dimOf(x, 1);
  const outside = lists.some((list) => list.includes(-1));
  const rows = outside ? b.op('Pad', [x, b.ints([0, 0, 0, 0, 1, 0])], {}, `${name}_padded`) : x;
  const index = lists.flatMap((list) => list.map((row) => (row < 0 ? count : row)));
  const shape = [lists.length, lists[0]!.length];
  return b.op(
    'Gather',
    [rows, layers.constant(`${name}_index`, Tensor.int64(index, shape))],
    { axis: 1 },
    name,
  );
}

/**
 * What a sliding window sees at each of its places, PyTorch's `unfold` with channels last:
 * `[N, H, W, C] -> [N, places, kernel^2, C]`; outside the image are zeros.
 */
export function unfold(layers: Layers, image: Value, window: SlidingWindow): Value {
  const b = layers.builder;
  const [height, width] = [dimOf(image, 1), dimOf(image, 2)];
  const pixels = b.op('Reshape', [image, b.ints([0, height * width, -1])], {}, 'pixels');
  return rowsAt(layers, pixels, seenPixels([height, width], window), 'seen');
}

/**
 * The sum of what a sliding window says of each pixel, PyTorch's `fold` with channels last:
 * `[N, places, kernel^2, C] -> [N, H, W, C]` for an image of `[H, W]`.
 */
export function fold(layers: Layers, windows: Value, size: Pair, window: SlidingWindow): Value {
  const b = layers.builder;
  const sources: number[][] = Array.from({ length: bounded(size[0] * size[1]) }, () => []);
  seenPixels(size, window).forEach((pixels, place) => {
    pixels.forEach((pixel, i) => {
      if (pixel >= 0) sources[pixel]!.push(place * window.kernel ** 2 + i);
    });
  });
  const most = Math.max(...sources.map((list) => list.length));
  const filled = sources.map((list) => [...list, ...Array<number>(most - list.length).fill(-1)]);
  const flat = b.op('Reshape', [windows, b.ints([0, dimOf(windows, 1) * dimOf(windows, 2), -1])], {}, 'said');
  const said = rowsAt(layers, flat, filled, 'said_of_pixel');
  const sum = b.op('ReduceSum', [said, b.ints([2])], { keepdims: 0 }, 'sum');
  return b.op('Reshape', [sum, b.ints([0, ...size, -1])], {}, 'folded');
}
