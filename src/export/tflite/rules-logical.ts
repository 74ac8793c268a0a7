import type { LoweringRule, LoweringRules } from './lowering.ts';
import type { BuiltinName } from './schema.ts';

/** Two operands at the same place, true or false of each. */
const compared =
  (builtin: BuiltinName): LoweringRule<object> =>
  (node, _args, lower) =>
    lower.binary(builtin, lower.tensor(node.input(0)), lower.tensor(node.input(1)), 'bool');

const where: LoweringRule<object> = (node, _args, lower) => {
  const [condition, yes, no] = [0, 1, 2].map((i) => lower.tensor(node.input(i)));
  const { staticShape } = node.output();
  return lower.call('SELECT_V2', [condition, yes, no], staticShape, {}, undefined, yes!.dtype);
};

/** Comparisons, what is made of them, and the choice by them. */
export const logicalRules = {
  Equal: compared('EQUAL'),
  Greater: compared('GREATER'),
  GreaterOrEqual: compared('GREATER_EQUAL'),
  Less: compared('LESS'),
  LessOrEqual: compared('LESS_EQUAL'),
  And: compared('LOGICAL_AND'),
  Or: compared('LOGICAL_OR'),
  Not: (node, _args, lower) => {
    const x = lower.tensor(node.input(0));
    return lower.call('LOGICAL_NOT', [x], x.shape);
  },
  Where: where,
} satisfies LoweringRules;
