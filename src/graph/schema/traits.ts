import type { Node } from '../types.ts';
import { type OpName, rowOf, rowsFor } from './signature.ts';

/** Ops that may give another result for the same inputs. */
export const randomOps: { readonly [O in OpName]?: true } = rowsFor(
  'Bernoulli Dropout Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike',
  true,
);

/** May the node give another result for the same inputs? */
export const isRandom = (node: Node): boolean => rowOf(randomOps, node) !== undefined;
