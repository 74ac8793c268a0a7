import { moveAxes } from '../layout.ts';
import {
  aligned,
  axesOf,
  axisOf,
  type DependencyContext,
  type DependencyRule,
  pinInputs,
  rulesFor,
  shapeOf,
} from './rule.ts';

/** Normalized over the last axes, scale and bias broadcast against them. */
const lastAxes: DependencyRule = (node, context) => {
  const rank = shapeOf(node.input(0)).length;
  const layout = node.inputs
    .filter((value) => value !== undefined)
    .map((value) => aligned(context, value, rank))
    .reduce((a, b) => context.meet(a, b)).layout;
  const first = axisOf(node, -1);
  let statistics = layout;
  for (let axis = first; axis < rank; axis++) {
    if (node.outputs[1] || node.outputs[2]) statistics = context.reduce(statistics, axis);
  }
  return [layout, statistics, statistics];
};

/** A scale, a bias and statistics for each index of axis 1. */
const channelAxis: DependencyRule = (node, context: DependencyContext) => {
  const x = context.layout(node.input(0));
  let channels = context.single(x, 1);
  for (const value of node.inputs.slice(1)) {
    if (value) channels = context.uniteAxes(channels, context.single(context.layout(value), 0));
  }
  return [x];
};

/** Probabilities over an axis need all of it. */
const softmax: DependencyRule = (node, context) => {
  const layout = context.layout(node.input(0));
  context.pinAxis(layout, axisOf(node, -1));
  return [layout];
};

const reduction: DependencyRule = (node, context) => {
  const rank = shapeOf(node.input(0)).length;
  const given = axesOf(node, 1, rank);
  if (!given) return pinInputs(node, context);
  let layout = context.layout(node.input(0));
  if (!given.length && node.int('noop_with_empty_axes', 0)) return [layout];
  const axes = given.length ? given : [...Array(rank).keys()];
  for (const axis of axes) layout = context.reduce(layout, axis);
  if (node.int('keepdims', 1)) return [layout];
  return [moveAxes(layout, (axis) => axis - axes.filter((gone) => gone < axis).length)];
};

export const normalizationRules: Record<string, DependencyRule> = {
  ...rulesFor('LayerNormalization RMSNormalization SimplifiedLayerNormalization', lastAxes),
  ...rulesFor('BatchNormalization InstanceNormalization', channelAxis),
  ...rulesFor('Softmax LogSoftmax Hardmax', softmax),
  ...rulesFor(
    'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp',
    reduction,
  ),
};
