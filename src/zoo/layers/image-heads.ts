import type { Value } from '../../graph/graph.ts';
import { unpack } from './attention.ts';
import { dimOf, type Layers } from './layers.ts';

/** `[N, heads*D, H, W] -> [N, heads, H*W, D]`. */
export function splitImageHeads(layers: Layers, x: Value, heads: number): Value {
  const b = layers.builder;
  const area = dimOf(x, 2) * dimOf(x, 3);
  const boxed = b.op('Reshape', [x, b.ints([0, heads, -1, area])], {}, 'heads');
  return b.op('Transpose', [boxed], { perm: [0, 1, 3, 2] }, 'heads_first');
}

/** `[N, heads*parts*D, H, W] ->` `parts` of `[N, heads, H*W, D]`, the channels by head and then by part. */
export function splitPackedImage(layers: Layers, x: Value, parts: readonly string[], heads: number): Value[] {
  const b = layers.builder;
  const area = dimOf(x, 2) * dimOf(x, 3);
  const boxed = b.op('Reshape', [x, b.ints([0, heads, parts.length, -1, area])], {}, 'packed');
  return unpack(layers, boxed, [2, 0, 1, 4, 3], parts);
}

/** `[N, heads, H*W, D] -> [N, heads*D, H, W]`. */
export function joinImageHeads(
  layers: Layers,
  x: Value,
  size: readonly [height: number, width: number],
): Value {
  const b = layers.builder;
  const channels = b.op('Transpose', [x], { perm: [0, 1, 3, 2] }, 'channels_first');
  return b.op('Reshape', [channels, b.ints([0, -1, ...size])], {}, 'joined');
}
