import type { Value } from '../../graph/graph.ts';
import { dimOf, type Layers } from './layers.ts';

const transpose = (layers: Layers, x: Value, perm: readonly number[], name: string): Value =>
  layers.builder.op('Transpose', [x], { perm: [...perm] }, name);

/** `[N, C, H, W] -> [N, H, W, C]`. */
export const channelsLast = (layers: Layers, x: Value): Value =>
  transpose(layers, x, [0, 2, 3, 1], 'channels_last');

/** `[N, H, W, C] -> [N, C, H, W]`. */
export const channelsFirst = (layers: Layers, x: Value): Value =>
  transpose(layers, x, [0, 3, 1, 2], 'channels_first');

/** `[N, C, H, W] -> [N, H*W, C]`. */
export function imageToTokens(layers: Layers, x: Value, name = 'tokens'): Value {
  const flat = layers.builder.op('Reshape', [x, layers.builder.ints([0, 0, -1])], {}, 'flat');
  return transpose(layers, flat, [0, 2, 1], name);
}

/** `[N, H*W, C] -> [N, C, H, W]`. */
export function tokensToImage(layers: Layers, x: Value, [height, width]: readonly [number, number]): Value {
  const b = layers.builder;
  const flat = transpose(layers, x, [0, 2, 1], 'channels_first');
  return b.op('Reshape', [flat, b.ints([0, 0, height, width])], {}, 'image');
}

/** Zeros below and to the right: `[N, H, W, C] -> [N, H + rows, W + columns, C]`. */
export function padImage(
  layers: Layers,
  x: Value,
  [rows, columns]: readonly [rows: number, columns: number],
): Value {
  if (rows === 0 && columns === 0) return x;
  return layers.builder.op(
    'Pad',
    [x, layers.builder.ints([0, 0, 0, 0, 0, rows, columns, 0])],
    {},
    'image_padded',
  );
}

/** `[N, H, W, C] -> [N * windows, h*w, C]`, windows in reading order. H and W are multiples of h and w. */
export function windowPartition(layers: Layers, x: Value, [h, w]: readonly [number, number]): Value {
  const b = layers.builder;
  const [rows, columns] = [dimOf(x, 1) / h, dimOf(x, 2) / w];
  const cut = b.op('Reshape', [x, b.ints([0, rows, h, columns, w, -1])], {}, 'window_cut');
  const ordered = transpose(layers, cut, [0, 1, 3, 2, 4, 5], 'windows_first');
  return b.op('Reshape', [ordered, b.ints([-1, h * w, dimOf(x, 3)])], {}, 'windows');
}

/** The inverse of `windowPartition`, for an image of `[height, width]`. */
export function windowReverse(
  layers: Layers,
  windows: Value,
  [h, w]: readonly [number, number],
  [height, width]: readonly [number, number],
): Value {
  const b = layers.builder;
  const channels = dimOf(windows, 2);
  const cut = b.op(
    'Reshape',
    [windows, b.ints([-1, height / h, width / w, h, w, channels])],
    {},
    'window_grid',
  );
  const ordered = transpose(layers, cut, [0, 1, 3, 2, 4, 5], 'rows_first');
  return b.op('Reshape', [ordered, b.ints([-1, height, width, channels])], {}, 'image');
}

/**
 * `[N, H, W, C] -> [N * H/h * W/w, h*w, C]`: places as far apart as a grid of `[h, w]` over the image lets them be, in
 * reading order. H and W are multiples of h and w.
 */
export function gridPartition(layers: Layers, x: Value, [h, w]: readonly [number, number]): Value {
  const b = layers.builder;
  const [rows, columns] = [dimOf(x, 1) / h, dimOf(x, 2) / w];
  const cut = b.op('Reshape', [x, b.ints([0, h, rows, w, columns, -1])], {}, 'grid_cut');
  const ordered = transpose(layers, cut, [0, 2, 4, 1, 3, 5], 'grids_first');
  return b.op('Reshape', [ordered, b.ints([-1, h * w, dimOf(x, 3)])], {}, 'grids');
}

/** The inverse of `gridPartition`, for an image of `[height, width]`. */
export function gridReverse(
  layers: Layers,
  grids: Value,
  [h, w]: readonly [number, number],
  [height, width]: readonly [number, number],
): Value {
  const b = layers.builder;
  const channels = dimOf(grids, 2);
  const cut = b.op(
    'Reshape',
    [grids, b.ints([-1, height / h, width / w, h, w, channels])],
    {},
    'grid_places',
  );
  const ordered = transpose(layers, cut, [0, 3, 1, 4, 2, 5], 'places_first');
  return b.op('Reshape', [ordered, b.ints([-1, height, width, channels])], {}, 'image');
}

/** Rows and columns moved by as many places, what leaves at one end comes in at the other: `[N, H, W, C]`, as torch.roll. */
export function roll(layers: Layers, x: Value, shifts: readonly [rows: number, columns: number]): Value {
  const b = layers.builder;
  return shifts.reduce((value, shift, i) => {
    const size = dimOf(value, i + 1);
    const start = (((size - shift) % size) + size) % size;
    if (start === 0) return value;
    const cut = b.node('Split', [value, b.ints([start, size - start])], { axis: i + 1 }, 2, 'rolled_part');
    return b.op('Concat', [cut.output(1), cut.output(0)], { axis: i + 1 }, 'rolled');
  }, x);
}
