import { normalizeAxis } from '../dim.ts';
import { reducedAxes, trailingAxes } from '../schema/axes.ts';
import { type OpArguments, rowsFor } from '../schema/signature.ts';
import type { Node, Shape } from '../types.ts';
import { dtypeOf, type Inferred, type ShapeRules, sameAsInput, shaped, shapeOf } from './rule.ts';

/** A shape with some axes at length 1, or without them. */
const without = (shape: Shape, axes: readonly number[], keep: boolean): Shape =>
  keep ? shape.map((dim, i) => (axes.includes(i) ? 1 : dim)) : shape.filter((_, i) => !axes.includes(i));

const reduction = (node: Node, args: OpArguments['ReduceSum']) => {
  const shape = shapeOf(node, 0);
  const axes = shape && reducedAxes(args, shape.length);
  return shaped(node, axes && without(shape, axes, args.keepdims === 1));
};

const argReduction = (node: Node, { axis, keepdims }: OpArguments['ArgMax']): readonly Inferred[] => {
  const shape = shapeOf(node, 0);
  if (!shape) return [{ dtype: 'int64', shape: undefined }];
  return [{ dtype: 'int64', shape: without(shape, [normalizeAxis(axis, shape.length)], keepdims === 1) }];
};

/** Output like the input, then mean and inverse deviation with the normalized axes at 1. */
const normalization = (node: Node, args: { readonly axis: number }): readonly Inferred[] => {
  const shape = shapeOf(node, 0);
  const statistics: Inferred = {
    dtype: 'float32',
    shape: shape && without(shape, trailingAxes(args, shape.length), true),
  };
  return [{ dtype: dtypeOf(node, 0), shape }, statistics, statistics];
};

const unknown: Inferred = { dtype: undefined, shape: undefined };

/** Statistics have the shape of those that are given. */
const batchNormalization = (node: Node): readonly Inferred[] => {
  const [mean, variance] = [3, 4].map(
    (i): Inferred => ({ dtype: dtypeOf(node, i), shape: shapeOf(node, i) }),
  );
  return [{ dtype: dtypeOf(node, 0), shape: shapeOf(node, 0) }, mean!, variance!, mean!, variance!];
};

/** Ops that gather over axes: sums and extremes, norms, softmax. */
export const reductionShapes = {
  ...rowsFor(
    'ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare',
    reduction,
  ),
  ...rowsFor('ArgMax ArgMin', argReduction),
  ...rowsFor(
    'Softmax LogSoftmax Hardmax com.microsoft.BiasSoftmax CumSum LpNormalization InstanceNormalization GroupNormalization',
    sameAsInput,
  ),
  BatchNormalization: batchNormalization,
  ...rowsFor('LayerNormalization RMSNormalization SimplifiedLayerNormalization', normalization),
  'com.microsoft.SkipLayerNormalization': (node) => {
    const like: Inferred = { dtype: dtypeOf(node, 0), shape: shapeOf(node, 0) };
    return [like, unknown, unknown, like];
  },
} satisfies ShapeRules;
