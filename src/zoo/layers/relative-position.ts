import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Initializer } from '../parameter-source.ts';
import type { Layers } from './layers.ts';

/**
 * For each pair of positions in a window of `[height, width]`, in reading order, the row of a table with an
 * entry per offset, `(2 height - 1) (2 width - 1)` of them: `[T, T]`, row-major. With a class token, which is
 * position 0, three rows follow: from it to others, from others to it, and from it to itself.
 */
export function relativePositionIndex(
  [height, width]: readonly [number, number],
  classToken = false,
): number[] {
  const offsets = (2 * height - 1) * (2 * width - 1);
  const first = classToken ? 1 : 0;
  const tokens = height * width + first;
  return Array.from({ length: tokens * tokens }, (_, i) => {
    const [from, to] = [Math.floor(i / tokens) - first, (i % tokens) - first];
    if (from < 0) return offsets + (to < 0 ? 2 : 0);
    if (to < 0) return offsets + 1;
    const rows = Math.floor(from / width) - Math.floor(to / width) + height - 1;
    const columns = (from % width) - (to % width) + width - 1;
    return rows * (2 * width - 1) + columns;
  });
}

export interface RelativePositionOptions {
  window: readonly [height: number, width: number];
  heads: number;
  classToken?: boolean;
  /** Name of the table in the present scope. */
  name?: string;
  initializer?: Initializer;
}

/** A learned bias for each head and offset, to add to scores: `[heads, T, T]` ("Swin Transformer", arXiv 2103.14030). */
export function relativePositionBias(layers: Layers, options: RelativePositionOptions): Value {
  const { window, heads, classToken = false, name = 'relative_position_bias_table' } = options;
  const { initializer = { kind: 'normal', std: 0.02 } } = options;
  const b = layers.builder;
  const rows = (2 * window[0] - 1) * (2 * window[1] - 1) + (classToken ? 3 : 0);
  const table = layers.parameter(name, [rows, heads], initializer);
  const tokens = window[0] * window[1] + (classToken ? 1 : 0);
  const index = layers.constant(
    'relative_position_index',
    Tensor.int64(relativePositionIndex(window, classToken), [tokens, tokens]),
  );
  const picked = b.op('Gather', [table, index], { axis: 0 }, 'position_bias_by_pair');
  return b.op('Transpose', [picked], { perm: [2, 0, 1] }, 'position_bias');
}
