import type { Node, Value } from '../../graph/graph.ts';
import { isComputed } from '../../graph/schema/arguments.ts';
import { reducedAxes, softmaxAxes, trailingAxes } from '../../graph/schema/axes.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { bool, float, int, ints, none, type Operand, training } from './program.ts';

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

/** In training mode a module whose statistics are its own normalizes by each batch, as torch.nn.BatchNorm2d. */
const batchNormalization: LoweringRule<OpArguments['BatchNormalization']> = (node, args, lower) => {
  if (args.spatial !== 1) throw lower.unsupported(node, 'it normalizes each place by itself');
  if (args.training_mode) throw lower.unsupported(node, 'it is in training mode');
  const inputs = node.inputs.map((_, i) => lower.tensor(node.input(i)));
  const learns = inputs.slice(3).every((input) => input.kind === 'weight' && input.role === 'buffer');
  return lower.call('aten::batch_norm', [
    ...inputs,
    learns ? training : bool(false),
    float(0.1),
    float(args.epsilon),
    bool(false),
  ]);
};

const instanceNormalization: LoweringRule<OpArguments['InstanceNormalization']> = (node, args, lower) => {
  const [x, scale, shift] = [0, 1, 2].map((i) => lower.tensor(node.input(i)));
  const statistics = [none, none, bool(true), float(0)];
  return lower.call('aten::instance_norm', [
    x!,
    scale!,
    shift!,
    ...statistics,
    float(args.epsilon),
    bool(false),
  ]);
};

/** Before operator set 21 scale and shift are a number a group, which each of its channels gets. */
const groupNormalization: LoweringRule<OpArguments['GroupNormalization']> = (node, args, lower) => {
  const channels = node.input(0).shape?.[1];
  const perChannel = (value: Value): Operand => {
    if (node.opset >= 21) return lower.tensor(value);
    if (typeof channels !== 'number')
      throw lower.unsupported(node, 'the number of its channels is not known');
    const repeats = int(channels / args.num_groups);
    return lower.call('aten::repeat_interleave.self_int', [lower.tensor(value), repeats, int(0)]);
  };
  return lower.call('aten::group_norm', [
    lower.tensor(node.input(0)),
    int(args.num_groups),
    perChannel(node.input(1)),
    perChannel(node.input(2)),
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

/** One axis after another, from the last: those before keep their places. */
const productOver: LoweringRule<OpArguments['ReduceProd']> = (node, args, lower) => {
  const input = node.input(0);
  const axes = reducedAxes(args, lower.rank(node, input));
  if (!axes) throw lower.unsupported(node, 'its axes are computed at run time, where a constant is needed');
  const keep = bool(args.keepdims === 1);
  return [...axes]
    .sort((a, b) => b - a)
    .reduce((x, axis) => lower.call('aten::prod.dim_int', [x, int(axis), keep]), lower.tensor(input));
};

const extremum =
  (operator: string): LoweringRule<OpArguments['ArgMax']> =>
  (node, args, lower) => {
    if (args.select_last_index) throw lower.unsupported(node, 'select_last_index is not lowered');
    const keep = bool(args.keepdims === 1);
    return lower.call(operator, [lower.tensor(node.input(0)), int(args.axis), keep]);
  };

const cumulativeSum: LoweringRule<OpArguments['CumSum']> = (node, args, lower) => {
  if (isComputed(args.axis)) throw lower.unsupported(node, 'its axis is computed at run time');
  const axis = args.axis;
  const turned = (value: Operand) => (args.reverse ? lower.call('aten::flip', [value, ints([axis])]) : value);
  const x = turned(lower.tensor(node.input(0)));
  const sums = lower.call('aten::cumsum', [x, int(axis)]);
  return turned(args.exclusive ? lower.call('aten::sub.Tensor', [sums, x]) : sums);
};

/** Ops that gather over axes: softmax, norms, sums. */
export const reductionRules = {
  Softmax: softmax('aten::softmax.int'),
  LogSoftmax: softmax('aten::log_softmax.int'),
  LayerNormalization: layerNormalization,
  'com.microsoft.SkipLayerNormalization': skipLayerNormalization,
  RMSNormalization: rmsNormalization,
  SimplifiedLayerNormalization: rmsNormalization,
  BatchNormalization: batchNormalization,
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  LpNormalization: lpNormalization,
  ReduceMean: reduction(reducer('aten::mean.dim')),
  ReduceSum: reduction(sum),
  ReduceMax: reduction(reducer('aten::amax')),
  ReduceMin: reduction(reducer('aten::amin')),
  ReduceProd: productOver,
  ReduceLogSumExp: reduction(reducer('aten::logsumexp')),
  ReduceL1: reduction((x, axes, keep, lower) => sum(lower.call('aten::abs', [x]), axes, keep, lower)),
  ReduceL2: reduction((x, axes, keep, lower) =>
    lower.call('aten::sqrt', [sumOfSquares(x, axes, keep, lower)]),
  ),
  ReduceSumSquare: reduction(sumOfSquares),
  ArgMax: extremum('aten::argmax'),
  ArgMin: extremum('aten::argmin'),
  CumSum: cumulativeSum,
} satisfies LoweringRules;
