import type { Value } from '../../graph/graph.ts';
import { dimOf, type Layers } from './layers.ts';
import { padImage, windowPartition, windowReverse } from './layout.ts';

/**
 * Applies `body` to square windows of an image: it gets `[N * windows, window * window, C]`. The image is padded with
 * zeros to whole windows, of which the body sees too, and cut again: `[N, H, W, C] -> [N, H, W, C]`.
 */
export function inPaddedWindows(
  layers: Layers,
  image: Value,
  window: number,
  body: (windows: Value) => Value,
): Value {
  const b = layers.builder;
  const size = [dimOf(image, 1), dimOf(image, 2)] as const;
  const missing = (length: number) => (window - (length % window)) % window;
  const [rows, columns] = [missing(size[0]), missing(size[1])];
  const windows = windowPartition(layers, padImage(layers, image, [rows, columns]), [window, window]);
  const whole = [size[0] + rows, size[1] + columns] as const;
  const joined = windowReverse(layers, body(windows), [window, window], whole);
  if (rows === 0 && columns === 0) return joined;
  return b.op('Slice', [joined, b.ints([0, 0]), b.ints(size), b.ints([1, 2])], {}, 'cropped');
}
