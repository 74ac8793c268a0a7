import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { bounded } from '../bounded.ts';
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
  return Array.from({ length: bounded(tokens * tokens) }, (_, i) => {
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
  const rows = (2 * window[0] - 1) * (2 * window[1] - 1) + (classToken ? 3 : 0);
  const table = layers.parameter(name, [rows, heads], initializer, { kind: 'offsets', window });
  return biasByPair(layers, table, window, classToken);
}

/** Rows of a table `[offsets, heads]` picked for each pair of positions: `[heads, T, T]`. */
function biasByPair(
  layers: Layers,
  table: Value,
  window: readonly [number, number],
  classToken = false,
): Value {
  const b = layers.builder;
  const tokens = window[0] * window[1] + (classToken ? 1 : 0);
  const index = layers.sharedConstant(
    `relative_position_index_${window.join('x')}${classToken ? '_with_class' : ''}`,
    () => Tensor.int64(relativePositionIndex(window, classToken), [tokens, tokens]),
  );
  const picked = b.op('Gather', [table, index], { axis: 0 }, 'position_bias_by_pair');
  return b.op('Transpose', [picked], { perm: [2, 0, 1] }, 'position_bias');
}

/**
 * The same from a table `[heads, 2 height - 1, 2 width - 1]`, as TensorFlow's MaxViT has it (arXiv 2204.01697): an
 * offset is that of the key from the query.
 */
export function relativePositionGrid(
  layers: Layers,
  [height, width]: readonly [number, number],
  heads: number,
): Value {
  const b = layers.builder;
  const shape = [heads, 2 * height - 1, 2 * width - 1];
  const table = layers.parameter('relative_position_bias_table', shape, { kind: 'normal', std: 0.02 });
  const flat = b.op('Reshape', [table, b.ints([0, -1])], {}, 'offsets');
  const tokens = height * width;
  const index = layers.sharedConstant(`position_from_query_index_${height}x${width}`, () => {
    const toQuery = relativePositionIndex([height, width]);
    const fromQuery = toQuery.map((_, i) => toQuery[(i % tokens) * tokens + Math.floor(i / tokens)]!);
    return Tensor.int64(fromQuery, [tokens, tokens]);
  });
  return b.op('Gather', [flat, index], { axis: 1 }, 'position_bias');
}

/** sign(x) log(1 + |x|): far offsets are told apart less than near ones. */
export const signedLog = (x: number): number => Math.sign(x) * Math.log1p(Math.abs(x));

/** As Swin V2 sees an offset: the window's edge is at 8 before the logarithm, which is to the base 8. */
export const swinCoordinate = (offset: number, size: number): number =>
  size > 1 ? signedLog((8 * offset) / (size - 1)) / Math.log(8) : 0;

/** 16 sigmoid(x): Swin V2's bound of a bias that a network makes. */
export function boundedBias(layers: Layers, bias: Value): Value {
  const b = layers.builder;
  return b.op('Mul', [b.op('Sigmoid', [bias], {}, 'bounded'), b.scalar(16)], {}, 'rescaled');
}

export interface PositionMlpOptions {
  window: readonly [height: number, width: number];
  heads: number;
  hidden: number;
  /** What the network sees of an offset in rows or columns; `size` is the window's along that axis. */
  coordinate: (offset: number, size: number) => number;
  /** Names of the two Linears. */
  names: readonly [first: string, second: string];
  /** Whether the second has one. */
  bias: boolean;
}

/**
 * A bias for each head and offset that a small network makes of the offset, `[heads, T, T]` ("Swin Transformer
 * V2", arXiv 2111.09883): windows of other sizes can be asked of it.
 */
export function relativePositionMlp(layers: Layers, options: PositionMlpOptions): Value {
  const { window, heads, hidden, coordinate, names, bias } = options;
  const [height, width] = window;
  const [rows, columns] = [2 * height - 1, 2 * width - 1];
  const coordinates = Array.from({ length: bounded(rows * columns) }, (_, i) => [
    coordinate(Math.floor(i / columns) - height + 1, height),
    coordinate((i % columns) - width + 1, width),
  ]);
  const seen = layers.constant(
    'relative_coordinates',
    Tensor.float32([rows * columns, 2], Float32Array.from(coordinates.flat())),
  );
  const units = layers.activation(layers.linear(names[0], seen, hidden), 'relu');
  return biasByPair(layers, layers.linear(names[1], units, heads, { bias }), window);
}
