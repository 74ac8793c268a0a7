import type { Value } from '../../graph/graph.ts';
import type { Initializer } from '../parameter-source.ts';
import { dimOf, type Layers } from './layers.ts';

/** How many tokens there are in values `[1, count, C]`. */
export const countTokens = (tokens: readonly Value[]): number =>
  tokens.reduce((sum, token) => sum + dimOf(token, 1), 0);

type Size = readonly [height: number, width: number];

/**
 * Rows and columns of the patches of an image: as many as fit in, or where a backbone made them, the grid of so many
 * that has the image's aspect ratio.
 */
export function patchGrid(count: number, imageSize: Size, patchSize: Size): Size {
  const [rows, columns] = [0, 1].map((axis) => Math.floor(imageSize[axis]! / patchSize[axis]!)) as [
    number,
    number,
  ];
  if (rows * columns === count) return [rows, columns];
  const tall = Math.max(1, Math.round(Math.sqrt((count * imageSize[0]) / imageSize[1])));
  return [tall, count / tall];
}

/**
 * A position embedding `[1, P, C]` of patches, with or without places for the tokens before them.
 * @param grid rows and columns of the patches
 * @param prefix how many tokens before them have a place
 */
export function positionEmbedding(
  layers: Layers,
  patches: Value,
  grid: Size,
  prefix: number,
  initializer: Initializer,
): Value {
  const shape = [1, prefix + dimOf(patches, 1), dimOf(patches, 2)];
  return layers.parameter('pos_embed', shape, initializer, { kind: 'grid', size: grid, prefix });
}

/**
 * Puts tokens `[1, count, C]`, the same for every image, before the patches `[N, P, C]`, and adds a position
 * embedding, `[1, P, C]` for the patches alone or longer for all. The patches are padded with zeros for the
 * prefix, and tokens and positions are added as one `[1, T, C]`: so the batch size is never asked for, and
 * parameters alone fold into a constant.
 */
export function embedTokens(
  layers: Layers,
  patches: Value,
  prefix: readonly Value[],
  position: Value | undefined,
): Value {
  const b = layers.builder;
  const count = dimOf(patches, 1);
  const prefixCount = countTokens(prefix);
  if (prefixCount === 0) return position ? b.op('Add', [patches, position], {}, 'embedded') : patches;
  const padded = b.op('Pad', [patches, b.ints([0, prefixCount, 0, 0, 0, 0])], {}, 'patches_padded');
  const tokens = prefix.length > 1 ? b.op('Concat', prefix, { axis: 1 }, 'prefix') : prefix[0]!;
  const ofPatches = position && dimOf(position, 1) === count;
  const whole = ofPatches
    ? b.op('Concat', [tokens, position], { axis: 1 }, 'prefix_and_position')
    : b.op('Pad', [tokens, b.ints([0, 0, 0, 0, count, 0])], {}, 'prefix_padded');
  const added = position && !ofPatches ? b.op('Add', [whole, position], {}, 'prefix_and_position') : whole;
  return b.op('Add', [padded, added], {}, 'embedded');
}
