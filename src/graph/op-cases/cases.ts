import type { OpCase } from './case.ts';
import { elementwiseCases } from './elementwise.ts';
import { movementCases } from './movement.ts';
import { productCases } from './product.ts';
import { reductionCases } from './reduction.ts';

/**
 * The one list of ways to use an op: shapes, gradients, dependencies and lowerings are each tried on all of
 * it, in every operator set in which the op is written in another way (`inOpsets`).
 */
export const opCases: readonly OpCase[] = [
  ...elementwiseCases,
  ...reductionCases,
  ...productCases,
  ...movementCases,
];
