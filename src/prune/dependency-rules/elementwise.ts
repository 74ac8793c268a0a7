import type { Node } from '../../graph/graph.ts';
import { rowsFor } from '../../graph/schema/signature.ts';
import {
  aligned,
  type DependencyContext,
  type DependencyRule,
  type DependencyRules,
  shapeOf,
} from './rule.ts';

/** One input, each output element from the element in its place. */
const unary: DependencyRule<object> = (node, _args, context) => [context.layout(node.input(0))];

/** Inputs broadcast and meet index by index. */
const broadcast = (node: Node, context: DependencyContext) => {
  const rank = shapeOf(node.output()).length;
  const inputs = node.inputs.filter((value) => value !== undefined);
  return [inputs.map((value) => aligned(context, value, rank)).reduce((a, b) => context.meet(a, b)).layout];
};

/** Adding two computed tensors makes their channels a residual stream. */
const sum: DependencyRule<object> = (node, _args, context) => {
  const result = broadcast(node, context);
  if (node.inputs.every((value) => value && !value.isConstant)) context.markResidual(result[0]!);
  return result;
};

export const elementwiseRules = {
  ...rowsFor(
    'Abs Acos Asin Atan Cast Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu com.microsoft.Gelu com.microsoft.QuickGelu',
    unary,
  ),
  ...rowsFor(
    'Sub Mul Div Pow Mod Min Max Mean Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor Where PRelu com.microsoft.BiasGelu com.microsoft.FastGelu',
    (node: Node, _args: object, context: DependencyContext) => broadcast(node, context),
  ),
  ...rowsFor('Add Sum', sum),
} satisfies DependencyRules;
