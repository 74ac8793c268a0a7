import type { Value } from '../../graph/graph.ts';
import { dimOf, type Layers } from './layers.ts';

/** How many tokens there are in values `[1, count, C]`. */
export const countTokens = (tokens: readonly Value[]): number =>
  tokens.reduce((sum, token) => sum + dimOf(token, 1), 0);

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
