import { reducedAxes, softmaxAxes, trailingAxes } from '../../graph/schema/axes.ts';
import { type OpArguments, rowsFor } from '../../graph/schema/signature.ts';
import { moveAxes } from '../layout.ts';
import { aligned, type DependencyRule, type DependencyRules, pinInputs, shapeOf } from './rule.ts';

/** Normalized over the last axes, scale and bias broadcast against them. */
const lastAxes: DependencyRule<OpArguments['LayerNormalization']> = (node, args, context) => {
  const rank = shapeOf(node.input(0)).length;
  const layout = node.inputs
    .filter((value) => value !== undefined)
    .map((value) => aligned(context, value, rank))
    .reduce((a, b) => context.meet(a, b)).layout;
  let statistics = layout;
  for (const axis of trailingAxes(args, rank)) {
    if (node.outputs[1] || node.outputs[2]) statistics = context.reduce(statistics, axis);
  }
  return [layout, statistics, statistics];
};

/** A scale, a bias and statistics for each index of axis 1. */
const channelAxis: DependencyRule<object> = (node, _args, context) => {
  const x = context.layout(node.input(0));
  let channels = context.single(x, 1);
  for (const value of node.inputs.slice(1)) {
    if (value) channels = context.uniteAxes(channels, context.single(context.layout(value), 0));
  }
  return [x];
};

/** Each place of a batch normalization of old by itself: nothing it reads may go. */
const batchNormalization: DependencyRule<OpArguments['BatchNormalization']> = (node, args, context) =>
  args.spatial === 1 ? channelAxis(node, args, context) : pinInputs(node, context);

/** Probabilities over axes need all of them; what shares an index on the others goes together. */
const softmax: DependencyRule<OpArguments['Softmax']> = (node, args, context) => {
  const layout = context.layout(node.input(0));
  for (const axis of softmaxAxes(node, args, shapeOf(node.input(0)).length)) {
    context.pinAxis(layout, axis);
    context.tieAlong(layout, axis);
  }
  return [layout];
};

const reduction: DependencyRule<OpArguments['ReduceSum']> = (node, args, context) => {
  const axes = reducedAxes(args, shapeOf(node.input(0)).length);
  if (!axes) return pinInputs(node, context);
  let layout = context.layout(node.input(0));
  for (const axis of axes) layout = context.reduce(layout, axis);
  if (args.keepdims === 1) return [layout];
  return [moveAxes(layout, (axis) => axis - axes.filter((gone) => gone < axis).length)];
};

export const normalizationRules = {
  ...rowsFor('LayerNormalization RMSNormalization SimplifiedLayerNormalization', lastAxes),
  BatchNormalization: batchNormalization,
  InstanceNormalization: channelAxis,
  ...rowsFor('Softmax LogSoftmax Hardmax', softmax),
  ...rowsFor(
    'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp',
    reduction,
  ),
} satisfies DependencyRules;
