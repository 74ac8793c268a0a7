import type { LoweringRules } from './lowering.ts';
import { elementwiseRules } from './rules-elementwise.ts';
import { layoutRules } from './rules-layout.ts';
import { linearRules } from './rules-linear.ts';
import { logicalRules } from './rules-logical.ts';
import { quantizedRules } from './rules-quantized.ts';
import { windowRules } from './rules-window.ts';

/** How each op is written in LiteRT operators, keyed by `Node.op`. To support an op is to add a row. */
export const tfliteLowering: LoweringRules = {
  ...elementwiseRules,
  ...layoutRules,
  ...linearRules,
  ...logicalRules,
  ...quantizedRules,
  ...windowRules,
};
