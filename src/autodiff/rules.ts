import { activation } from './activation.ts';
import { convolution } from './convolution.ts';
import { elementwise } from './elementwise.ts';
import { movement } from './movement.ts';
import { normalization } from './normalization.ts';
import { products } from './product.ts';
import { reduction } from './reduction.ts';
import type { GradientRules } from './rule.ts';

/** How each op is differentiated, keyed by `Node.op`. */
export const gradientRules: GradientRules = {
  ...elementwise,
  ...activation,
  ...products,
  ...normalization,
  ...reduction,
  ...movement,
  ...convolution,
};
