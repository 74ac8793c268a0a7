import type { Node } from '../../graph/graph.ts';
import { isComputed } from '../../graph/schema/arguments.ts';
import { reducedAxes, softmaxAxes, trailingAxes } from '../../graph/schema/axes.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { windowOf } from '../../graph/schema/window.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { bool, float, int, ints, none, type Operand } from './program.ts';
import { windowPads } from './window.ts';

const softmax =
  (operator: string): LoweringRule<OpArguments['Softmax']> =>
  (node, args, lower) => {
    const axes = softmaxAxes(node, args, lower.rank(node, node.input(0)));
    if (axes.length !== 1) throw lower.unsupported(node, 'before opset 13 it works on flattened axes');
    return lower.call(operator, [lower.tensor(node.input(0)), int(axes[0]!), none]);
  };

/** Lengths of the axes that a normalization works on: all from `axis` to the last. */
function normalizedShape(node: Node, args: { readonly axis: number }, lower: Lowering): number[] {
  const input = node.input(0);
  return trailingAxes(args, lower.rank(node, input)).map((axis) => {
    const dim = input.shape![axis];
    if (typeof dim !== 'number') throw lower.unsupported(node, 'it normalizes over an unknown length');
    return dim;
  });
}

const layerNormalization: LoweringRule<OpArguments['LayerNormalization']> = (node, args, lower) => {
  const shape = normalizedShape(node, args, lower);
  return lower.call('aten::layer_norm', [
    lower.tensor(node.input(0)),
    ints(shape),
    lower.optional(node.inputs[1]),
    lower.optional(node.inputs[2]),
    float(args.epsilon),
  ]);
};

/** Adds the residual (and a bias) first; the sum is the fourth output. */
const skipLayerNormalization: LoweringRule<OpArguments['com.microsoft.SkipLayerNormalization']> = (
  node,
  args,
  lower,
) => {
  const extra = [node.input(1), node.inputs[4]].filter((value) => value !== undefined);
  const sum = extra.reduce<Operand>(
    (total, value) => lower.call('aten::add.Tensor', [total, lower.tensor(value)]),
    lower.tensor(node.input(0)),
  );
  const normalized = lower.call('aten::layer_norm', [
    sum,
    ints(normalizedShape(node, { axis: -1 }, lower)),
    lower.tensor(node.input(2)),
    lower.optional(node.inputs[3]),
    float(args.epsilon),
  ]);
  return [normalized, undefined, undefined, sum];
};

/** x / sqrt(mean(x^2) + epsilon) * scale, in the operators that every PyTorch has. */
const rmsNormalization: LoweringRule<OpArguments['RMSNormalization']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const axes = normalizedShape(node, args, lower).map((_, i) => -1 - i);
  const square = lower.call('aten::mul.Tensor', [x, x]);
  const mean = lower.call('aten::mean.dim', [square, ints(axes), bool(true)]);
  const shifted = lower.call('aten::add.Scalar', [mean, float(args.epsilon)]);
  const normalized = lower.call('aten::mul.Tensor', [x, lower.call('aten::rsqrt', [shifted])]);
  return lower.call('aten::mul.Tensor', [normalized, lower.tensor(node.input(1))]);
};

const batchNormalization: LoweringRule<OpArguments['BatchNormalization']> = (node, args, lower) => {
  if (args.spatial !== 1) throw lower.unsupported(node, 'it normalizes each place by itself');
  if (args.training_mode) throw lower.unsupported(node, 'it is in training mode');
  return lower.call('aten::batch_norm', [
    ...node.inputs.map((_, i) => lower.tensor(node.input(i))),
    bool(false),
    float(0),
    float(args.epsilon),
    bool(false),
  ]);
};

const groupNormalization: LoweringRule<OpArguments['GroupNormalization']> = (node, args, lower) => {
  if (node.opset < 21) {
    throw lower.unsupported(node, 'before opset 21 its scale is given by group');
  }
  return lower.call('aten::group_norm', [
    lower.tensor(node.input(0)),
    int(args.num_groups),
    lower.tensor(node.input(1)),
    lower.tensor(node.input(2)),
    float(args.epsilon),
  ]);
};

const lpNormalization: LoweringRule<OpArguments['LpNormalization']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const axis = ints([args.axis]);
  const { p } = args;
  const sizes = p === 1 ? lower.call('aten::abs', [x]) : lower.call('aten::mul.Tensor', [x, x]);
  const sum = lower.call('aten::sum.dim_IntList', [sizes, axis, bool(true)]);
  return lower.call('aten::div.Tensor', [x, p === 1 ? sum : lower.call('aten::sqrt', [sum])]);
};

type Reduce = (x: Operand, axes: Operand, keep: Operand, lower: Lowering) => Operand;

/** A reduction over axes; none named means all. */
const reduction =
  (reduce: Reduce): LoweringRule<OpArguments['ReduceSum']> =>
  (node, args, lower) => {
    const input = node.input(0);
    const axes = reducedAxes(args, lower.rank(node, input));
    if (!axes) throw lower.unsupported(node, 'its axes are computed at run time, where a constant is needed');
    if (axes.length === 0) return lower.tensor(input);
    return reduce(lower.tensor(input), ints(axes), bool(args.keepdims === 1), lower);
  };

const reducer =
  (operator: string): Reduce =>
  (x, axes, keep, lower) =>
    lower.call(operator, [x, axes, keep]);

const sum = reducer('aten::sum.dim_IntList');

const sumOfSquares: Reduce = (x, axes, keep, lower) =>
  sum(lower.call('aten::mul.Tensor', [x, x]), axes, keep, lower);

const extremum =
  (operator: string): LoweringRule<OpArguments['ArgMax']> =>
  (node, args, lower) => {
    if (args.select_last_index) throw lower.unsupported(node, 'select_last_index is not lowered');
    const keep = bool(args.keepdims === 1);
    return lower.call(operator, [lower.tensor(node.input(0)), int(args.axis), keep]);
  };

const maxPool: LoweringRule<OpArguments['MaxPool']> = (node, args, lower) => {
  const window = windowOf(node, args, args.kernel_shape);
  const { symmetric, explicit } = windowPads(node, window, lower);
  if (explicit || window.kernel.length !== 2) {
    throw lower.unsupported(node, 'only 2-D windows with the same padding at both ends are lowered');
  }
  return lower.call('aten::max_pool2d', [
    lower.tensor(node.input(0)),
    ints(window.kernel),
    ints(window.strides),
    ints(symmetric),
    ints(window.dilations),
    bool(args.ceil_mode === 1),
  ]);
};

const averagePool: LoweringRule<OpArguments['AveragePool']> = (node, args, lower) => {
  const window = windowOf(node, args, args.kernel_shape);
  const { symmetric, explicit } = windowPads(node, window, lower);
  const dilated = window.dilations.some((d) => d !== 1);
  if (explicit || dilated || window.kernel.length !== 2) {
    throw lower.unsupported(node, 'only plain 2-D windows with the same padding at both ends are lowered');
  }
  return lower.call('aten::avg_pool2d', [
    lower.tensor(node.input(0)),
    ints(window.kernel),
    ints(window.strides),
    ints(symmetric),
    bool(args.ceil_mode === 1),
    bool(args.count_include_pad === 1),
  ]);
};

const globalPool =
  (operator: string): LoweringRule<object> =>
  (node, _args, lower) => {
    const rank = lower.rank(node, node.input(0));
    const axes = Array.from({ length: rank - 2 }, (_, i) => i + 2);
    return lower.call(operator, [lower.tensor(node.input(0)), ints(axes), bool(true)]);
  };

const cumulativeSum: LoweringRule<OpArguments['CumSum']> = (node, args, lower) => {
  if (args.exclusive || args.reverse) {
    throw lower.unsupported(node, 'exclusive and reverse sums are not lowered');
  }
  if (isComputed(args.axis)) throw lower.unsupported(node, 'its axis is computed at run time');
  return lower.call('aten::cumsum', [lower.tensor(node.input(0)), int(args.axis)]);
};

/** Ops that gather over axes: softmax, norms, sums, pooling. */
export const reductionRules = {
  Softmax: softmax('aten::softmax.int'),
  LogSoftmax: softmax('aten::log_softmax.int'),
  LayerNormalization: layerNormalization,
  'com.microsoft.SkipLayerNormalization': skipLayerNormalization,
  RMSNormalization: rmsNormalization,
  SimplifiedLayerNormalization: rmsNormalization,
  BatchNormalization: batchNormalization,
  GroupNormalization: groupNormalization,
  LpNormalization: lpNormalization,
  ReduceMean: reduction(reducer('aten::mean.dim')),
  ReduceSum: reduction(sum),
  ReduceMax: reduction(reducer('aten::amax')),
  ReduceMin: reduction(reducer('aten::amin')),
  ReduceLogSumExp: reduction(reducer('aten::logsumexp')),
  ReduceL1: reduction((x, axes, keep, lower) => sum(lower.call('aten::abs', [x]), axes, keep, lower)),
  ReduceL2: reduction((x, axes, keep, lower) =>
    lower.call('aten::sqrt', [sumOfSquares(x, axes, keep, lower)]),
  ),
  ReduceSumSquare: reduction(sumOfSquares),
  ArgMax: extremum('aten::argmax'),
  ArgMin: extremum('aten::argmin'),
  CumSum: cumulativeSum,
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalAveragePool: globalPool('aten::mean.dim'),
  GlobalMaxPool: globalPool('aten::amax'),
} satisfies LoweringRules;
