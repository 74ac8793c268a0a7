import { creationShapes } from './creation.ts';
import { elementwiseShapes } from './elementwise.ts';
import { movementShapes } from './movement.ts';
import { productShapes } from './product.ts';
import { reductionShapes } from './reduction.ts';
import type { ShapeRules } from './rule.ts';

/** How each op shapes its outputs, keyed by `Node.op`. */
export const shapeRules: ShapeRules = {
  ...elementwiseShapes,
  ...reductionShapes,
  ...productShapes,
  ...movementShapes,
  ...creationShapes,
};
