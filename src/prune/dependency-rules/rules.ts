import { contractionRules } from './contraction.ts';
import { elementwiseRules } from './elementwise.ts';
import { movementRules } from './movement.ts';
import { normalizationRules } from './normalization.ts';
import type { DependencyRule } from './rule.ts';

/** Which channels each op makes depend on each other, keyed by `Node.op`. */
export const dependencyRules: Record<string, DependencyRule> = {
  ...elementwiseRules,
  ...movementRules,
  ...contractionRules,
  ...normalizationRules,
};
