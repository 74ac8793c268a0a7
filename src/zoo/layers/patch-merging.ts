import type { Value } from '../../graph/graph.ts';
import type { NormSpec } from './layer-spec.ts';
import { dimOf, type Layers } from './layers.ts';

export interface PatchMergingOptions {
  /** Channels of the result. */
  width: number;
  norm: NormSpec;
  /** Whether the norm is of the four joined patches, or of the result. */
  normFirst: boolean;
}

/** Swin's `PatchMerging`, with `norm` and `reduction`: `[N, H, W, C] -> [N, H/2, W/2, width]`, sizes rounded up. */
export function patchMerging(
  layers: Layers,
  name: string,
  x: Value,
  { width, norm, normFirst }: PatchMergingOptions,
): Value {
  const b = layers.builder;
  const [height, breadth] = [dimOf(x, 1), dimOf(x, 2)];
  const [rows, columns] = [Math.ceil(height / 2), Math.ceil(breadth / 2)];
  return layers.scope(name, () => {
    const pads = b.ints([0, 0, 0, 0, 0, height % 2, breadth % 2, 0]);
    const even = height % 2 || breadth % 2 ? b.op('Pad', [x, pads], {}, 'even') : x;
    const cut = b.op('Reshape', [even, b.ints([0, rows, 2, columns, 2, -1])], {}, 'quarters');
    const ordered = b.op('Transpose', [cut], { perm: [0, 1, 3, 4, 2, 5] }, 'quarters_last');
    const joined = b.op('Reshape', [ordered, b.ints([0, rows, columns, -1])], {}, 'joined');
    const reduced = (value: Value) => layers.linear('reduction', value, width, { bias: false });
    return normFirst
      ? reduced(layers.norm('norm', joined, norm))
      : layers.norm('norm', reduced(joined), norm);
  });
}
