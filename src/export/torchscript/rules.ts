import type { LoweringRules } from './lowering.ts';
import { elementwiseRules } from './rules-elementwise.ts';
import { layoutRules } from './rules-layout.ts';
import { linearRules } from './rules-linear.ts';
import { poolingRules } from './rules-pooling.ts';
import { quantizedRules } from './rules-quantized.ts';
import { reductionRules } from './rules-reduction.ts';
import { resizeRules } from './rules-resize.ts';
import { scatterRules } from './rules-scatter.ts';

/** How each op is written in ATen operators, keyed by `Node.op`. To support an op is to add a row. */
export const torchscriptLowering: LoweringRules = {
  ...elementwiseRules,
  ...layoutRules,
  ...linearRules,
  ...quantizedRules,
  ...reductionRules,
  ...poolingRules,
  ...resizeRules,
  ...scatterRules,
};
