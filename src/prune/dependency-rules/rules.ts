import { contractionRules } from './contraction.ts';
import { elementwiseRules } from './elementwise.ts';
import { movementRules } from './movement.ts';
import { normalizationRules } from './normalization.ts';
import type { DependencyRules } from './rule.ts';

/** Which channels each op makes depend on each other, keyed by `Node.op`. */
export const dependencyRules: DependencyRules = {
  ...elementwiseRules,
  ...movementRules,
  ...contractionRules,
  ...normalizationRules,
};
