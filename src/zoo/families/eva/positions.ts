import { bounded } from '../../bounded.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { mixedRotary, type Rotary, type RotaryPairs, rotaryTable } from '../../layers/rotary.ts';
import type { EvaArgs } from './arguments.ts';

type Grid = readonly [height: number, width: number];
type Place = readonly [first: number, second: number];

/** What is turned by the positions in each block. */
export type RotaryOfBlock = (depth: number) => Rotary;

/** The rotary positions of a model: a table for all blocks, or learned frequencies for each. */
export function rotaryPositions(layers: Layers, args: EvaArgs, grid: Grid, prefix: number): RotaryOfBlock {
  const pairs = rotaryPairs(args);
  if (args.rope_type === 'mixed') {
    const places = placesOf(grid, args);
    const frequencies = layers.scope('rope', () => mixedFrequencies(layers, args));
    return (depth) => {
      const b = layers.builder;
      const own = b.op('Slice', [frequencies, b.ints([depth]), b.ints([depth + 1]), b.ints([1])], {}, 'own');
      const ofBlock = b.op('Squeeze', [own, b.ints([1])], {}, 'frequencies');
      return mixedRotary(layers, ofBlock, { prefix, pairs, places });
    };
  }
  const angles = args.rope_type === 'cat' ? anglesOfPatches(grid, args) : anglesOfDino(grid, args);
  const table = layers.scope('rope', () => rotaryTable(layers, { prefix, pairs, angles }));
  return () => table;
}

export const rotaryPairs = (args: EvaArgs): RotaryPairs => (args.rope_rotate_half ? 'halves' : 'neighbours');

/** Places in reading order, by row and column, or by column and row. */
function placesOf([height, width]: Grid, { rope_grid_indexing }: EvaArgs): Place[] {
  return Array.from({ length: bounded(height * width) }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return rope_grid_indexing === 'ij' ? [row, column] : [column, row];
  });
}

const powers = (base: number, count: number, step: number) =>
  Array.from({ length: bounded(count) }, (_, i) => base ** (i * step));

/** EVA-02's: places in patches of the images it was trained on, each angle for two neighbours. */
function anglesOfPatches(grid: Grid, args: EvaArgs): number[][] {
  const { ref_feat_shape: reference, rope_grid_offset: offset, rope_temperature: temperature } = args;
  const count = args.embed_dim / args.num_heads / 4;
  const bands = powers(1 / temperature, count, 1 / count);
  const ordered = <T>([rows, columns]: readonly [T, T]) =>
    args.rope_grid_indexing === 'ij' ? [rows, columns] : [columns, rows];
  const lengths = ordered(grid);
  const references = reference ? ordered(reference) : lengths;
  return placesOf(grid, args).map((place) =>
    place.flatMap((at, axis) => {
      const scaled = ((at + offset) / lengths[axis]!) * references[axis]!;
      return bands.flatMap((band) => [scaled * band, scaled * band]);
    }),
  );
}

/** DINOv3's: the middles of patches from -1 to 1, rows before columns, the same angles for both halves of a head. */
function anglesOfDino([height, width]: Grid, args: EvaArgs): number[][] {
  const count = args.embed_dim / args.num_heads / 4;
  const periods = powers(args.rope_temperature, count, 1 / count);
  const middle = (at: number, length: number) => (2 * (at + 0.5)) / length - 1;
  return Array.from({ length: bounded(height * width) }, (_, i) => {
    const place = [middle(Math.floor(i / width), height), middle(i % width, width)];
    const half = place.flatMap((at) => periods.map((period) => (2 * Math.PI * at) / period));
    return [...half, ...half];
  });
}

/** Learned frequencies of all blocks, `[2, depth, heads, D / 2]`: they start turned by a random angle for each head. */
function mixedFrequencies(layers: Layers, args: EvaArgs) {
  const { depth, num_heads: heads, embed_dim, rope_temperature: temperature } = args;
  const width = embed_dim / heads;
  const magnitudes = powers(1 / temperature, width / 4, 4 / width);
  const value = layers.parameter('freqs', [2, depth, heads, width / 2], {
    kind: 'computed',
    values: (random) => {
      const angles = Array.from({ length: bounded(depth * heads) }, () => 2 * Math.PI * random.uniform());
      return [Math.cos, Math.sin].flatMap((wave) =>
        angles.flatMap((angle) =>
          [angle, angle + Math.PI / 2].flatMap((turned) => magnitudes.map((size) => size * wave(turned))),
        ),
      );
    },
  });
  if (dimOf(value, 1) !== depth) throw new Error('frequencies are a row a block');
  return value;
}
