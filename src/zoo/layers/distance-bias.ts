import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { bounded } from '../bounded.ts';
import type { Layers } from './layers.ts';

/**
 * For each query and key of an image of `[height, width]`, the row of a table with an entry per distance in rows
 * and in columns: `[Q, T]`, row-major. Queries may be every `stride`th position only.
 */
function distanceIndex([height, width]: readonly [number, number], stride: number): number[] {
  const every = (length: number, step: number) =>
    Array.from({ length: bounded(Math.ceil(length / step)) }, (_, i) => i * step);
  const positions = (step: number) =>
    every(height, step).flatMap((row) => every(width, step).map((column) => [row, column] as const));
  const keys = positions(1);
  return positions(stride).flatMap(([row, column]) =>
    keys.map(([r, c]) => Math.abs(row - r) * width + Math.abs(column - c)),
  );
}

/**
 * A learned bias for each head and distance, `[heads, Q, T]` ("LeViT", arXiv 2104.01136): the table is
 * `attention_biases` `[heads, T]` in the present scope.
 */
export function distanceBias(
  layers: Layers,
  heads: number,
  size: readonly [height: number, width: number],
  stride = 1,
  /** Whether the state dict has the index too, as `attention_bias_idxs`. */
  savedIndex = false,
): Value {
  const keys = size[0] * size[1];
  const table = layers.parameter('attention_biases', [heads, keys], { kind: 'constant', value: 0 });
  const values = distanceIndex(size, stride);
  const [name, shape] = ['attention_bias_idxs', [values.length / keys, keys]] as const;
  const index = savedIndex
    ? layers.buffer(name, shape, { kind: 'computed', values: () => values }, 'int64')
    : layers.constant(name, Tensor.int64(values, [...shape]));
  return layers.builder.op('Gather', [table, index], { axis: 1 }, 'position_bias');
}
