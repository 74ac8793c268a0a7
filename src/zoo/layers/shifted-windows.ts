import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { bounded } from '../bounded.ts';
import { dimOf, type Layers } from './layers.ts';
import { roll, windowPartition, windowReverse } from './layout.ts';

type Pair = readonly [height: number, width: number];

/** The windows of a block, and how far the image is rolled before it is cut. */
export interface WindowPlan {
  window: Pair;
  shift: Pair;
}

/**
 * Windows for an image of `size`: an axis no longer than the window is one window, and not rolled.
 * @param shifted whether the block rolls by half a window
 * @param always keep window and shift whatever the size, timm's `always_partition`
 */
export function planWindows(size: Pair, window: Pair, shifted: boolean, always: boolean): WindowPlan {
  const half = window.map((length) => (shifted ? Math.floor(length / 2) : 0)) as [number, number];
  if (always) return { window, shift: half };
  const fits = (axis: number) => size[axis]! <= window[axis]!;
  return {
    window: [fits(0) ? size[0] : window[0], fits(1) ? size[1] : window[1]],
    shift: [fits(0) ? 0 : half[0], fits(1) ? 0 : half[1]],
  };
}

/** What keeps scores of a block's windows `[N * windows, H, T, T]` from looking over a seam. */
export type Masking = ((scores: Value) => Value) | undefined;

/**
 * Attention in windows, rolled ones as Swin has them ("Swin Transformer", arXiv 2103.14030): `[N, H, W, C]`, padded
 * below and right to whole windows.
 * @param attend from windows `[N * windows, T, C]` to the same
 */
export function inWindows(
  layers: Layers,
  x: Value,
  { window, shift }: WindowPlan,
  attend: (windows: Value, mask: Masking) => Value,
): Value {
  const b = layers.builder;
  const size = [dimOf(x, 1), dimOf(x, 2)] as const;
  const whole = [0, 1].map((i) => Math.ceil(size[i]! / window[i]!) * window[i]!) as [number, number];
  const uneven = whole[0] !== size[0] || whole[1] !== size[1];
  const rolled = roll(layers, x, [-shift[0], -shift[1]]);
  const pads = b.ints([0, 0, 0, 0, 0, whole[0] - size[0], whole[1] - size[1], 0]);
  const padded = uneven ? b.op('Pad', [rolled, pads], {}, 'whole_windows') : rolled;
  const windows = windowPartition(layers, padded, window);
  const attended = attend(windows, maskOf(layers, whole, { window, shift }));
  const image = windowReverse(layers, attended, window, whole);
  const cropped = uneven
    ? b.op('Slice', [image, b.ints([0, 0]), b.ints(size), b.ints([1, 2])], {}, 'cropped')
    : image;
  return roll(layers, cropped, shift);
}

function maskOf(layers: Layers, size: Pair, plan: WindowPlan): Masking {
  if (plan.shift.every((places) => places === 0)) return undefined;
  const b = layers.builder;
  const tokens = plan.window[0] * plan.window[1];
  const windows = (size[0] * size[1]) / tokens;
  const mask = layers.constant(
    'attn_mask',
    Tensor.float32([windows, 1, tokens, tokens], seamMask(size, plan)),
  );
  return (scores) => {
    const heads = dimOf(scores, 1);
    const byImage = b.op('Reshape', [scores, b.ints([-1, windows, heads, tokens, tokens])], {}, 'by_image');
    const masked = b.op('Add', [byImage, mask], {}, 'masked');
    return b.op('Reshape', [masked, b.ints([-1, heads, tokens, tokens])], {}, 'by_window');
  };
}

/** -100 for each pair of a window's places that were not neighbours before the image was rolled, else 0. */
export function seamMask(size: Pair, { window, shift }: WindowPlan): Float32Array {
  const regionOf = (at: number, axis: 0 | 1) => {
    if (shift[axis] === 0 || at < size[axis] - window[axis]) return 0;
    return at < size[axis] - shift[axis] ? 1 : 2;
  };
  const [rows, columns] = [size[0] / window[0], size[1] / window[1]];
  const tokens = window[0] * window[1];
  const mask = new Float32Array(bounded(rows * columns * tokens * tokens));
  let at = 0;
  for (let i = 0; i < rows * columns; i++) {
    const regions = Array.from({ length: bounded(tokens) }, (_, place) => {
      const row = Math.floor(i / columns) * window[0] + Math.floor(place / window[1]);
      const column = (i % columns) * window[1] + (place % window[1]);
      return 3 * regionOf(row, 0) + regionOf(column, 1);
    });
    for (const from of regions) for (const to of regions) mask[at++] = from === to ? 0 : -100;
  }
  return mask;
}
