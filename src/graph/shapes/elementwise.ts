import { broadcastShapes } from '../dim.ts';
import { rowsFor } from '../schema/signature.ts';
import { type DataType, dataTypes } from '../tensor.ts';
import type { Node, Shape } from '../types.ts';
import { dtypeOf, type Inferred, type ShapeRules, sameAsInput, shapeOf } from './rule.ts';

const broadcasting =
  (result?: DataType, from = 0) =>
  (node: Node): readonly Inferred[] => {
    const shapes = node.inputs.map((value) => value?.shape);
    const dtype = result ?? dtypeOf(node, from);
    if (shapes.some((shape) => !shape)) return [{ dtype, shape: undefined }];
    return [{ dtype, shape: (shapes as Shape[]).reduce(broadcastShapes) }];
  };

const typeNamed = (onnx: number): DataType | undefined =>
  onnx === 8
    ? 'string'
    : (Object.keys(dataTypes) as (keyof typeof dataTypes)[]).find((t) => dataTypes[t].onnx === onnx);

/** Ops that work on each element alone, or on several at the same place. */
export const elementwiseShapes = {
  ...rowsFor(
    'Abs Acos Asin Atan Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log Mish Neg Not PRelu Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu com.microsoft.BiasGelu com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.QuickGelu',
    sameAsInput,
  ),
  ...rowsFor('Add BitShift Div Max Mean Min Mod Mul Pow Sub Sum', broadcasting()),
  ...rowsFor('And Equal Greater GreaterOrEqual Less LessOrEqual Or Xor', broadcasting('bool')),
  ...rowsFor('IsInf IsNaN', (node: Node): readonly Inferred[] => [
    { dtype: 'bool', shape: shapeOf(node, 0) },
  ]),
  Where: broadcasting(undefined, 1),
  Cast: (node, { to }) => [{ dtype: typeNamed(to), shape: shapeOf(node, 0) }],
  CastLike: (node) => [{ dtype: dtypeOf(node, 1), shape: shapeOf(node, 0) }],
} satisfies ShapeRules;
