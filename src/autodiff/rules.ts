import { activation } from './activation.ts';
import { channelNormalization } from './channel-normalization.ts';
import { convolution } from './convolution.ts';
import { einsum } from './einsum.ts';
import { elementwise } from './elementwise.ts';
import { movement } from './movement.ts';
import { normalization } from './normalization.ts';
import { pooling } from './pooling.ts';
import { products } from './product.ts';
import { reduction } from './reduction.ts';
import { resize } from './resize.ts';
import type { GradientRules } from './rule.ts';
import { scatter } from './scatter.ts';

/** How each op is differentiated, keyed by `Node.op`. */
export const gradientRules: GradientRules = {
  ...elementwise,
  ...activation,
  ...products,
  ...normalization,
  ...reduction,
  ...movement,
  ...convolution,
  ...channelNormalization,
  ...pooling,
  ...resize,
  ...scatter,
  ...einsum,
};
