import { isUnknown } from '../graph/dim.ts';
import type { Dim, Shape } from '../graph/graph.ts';

/**
 * What a Reshape is told, so that it makes `to` of `from`: numbers, 0 for a symbolic length that stays in its
 * place, -1 for another. Undefined when there is more than one other, or a length of 0.
 */
export function reshapeTarget(from: Shape, to: Shape): number[] | undefined {
  const target = to.map((dim: Dim, i) => {
    if (typeof dim === 'number') return dim;
    return dim === from[i] && !isUnknown(dim) ? 0 : -1;
  });
  const open = target.filter((dim) => dim === -1).length;
  return open > 1 || to.includes(0) ? undefined : target;
}
