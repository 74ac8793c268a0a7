import { normalizeAxis } from '../../graph/dim.ts';
import type { Node } from '../../graph/graph.ts';
import type { Lowering, LoweringRule } from './lowering.ts';
import { bool, float, int, ints, none, type Operand } from './program.ts';
import { windowPads } from './window.ts';

const softmax =
  (operator: string): LoweringRule =>
  (node, lower) => {
    const rank = lower.rank(node, node.input(0));
    const coerces = (lower.graph.opsets.get('') ?? 13) < 13;
    const axis = normalizeAxis(node.int('axis', coerces ? 1 : -1), rank);
    if (coerces && axis !== rank - 1) {
      throw lower.unsupported(node, 'before opset 13 it works on flattened axes');
    }
    return lower.call(operator, [lower.tensor(node.input(0)), int(axis), none]);
  };

/** Lengths of the axes that a normalization works on: all from `axis` to the last. */
function normalizedShape(node: Node, lower: Lowering): number[] {
  const input = node.input(0);
  const axis = normalizeAxis(node.int('axis', -1), lower.rank(node, input));
  return input.shape!.slice(axis).map((dim) => {
    if (typeof dim !== 'number') throw lower.unsupported(node, 'it normalizes over an unknown length');
    return dim;
  });
}

const layerNormalization: LoweringRule = (node, lower) => {
  const shape = normalizedShape(node, lower);
  return lower.call('aten::layer_norm', [
    lower.tensor(node.input(0)),
    ints(shape),
    lower.optional(node.inputs[1]),
    lower.optional(node.inputs[2]),
    float(node.float('epsilon', 1e-5)),
  ]);
};

/** Adds the residual (and a bias) first; the sum is the fourth output. */
const skipLayerNormalization: LoweringRule = (node, lower) => {
  const extra = [node.input(1), node.inputs[4]].filter((value) => value !== undefined);
  const sum = extra.reduce<Operand>(
    (total, value) => lower.call('aten::add.Tensor', [total, lower.tensor(value)]),
    lower.tensor(node.input(0)),
  );
  const normalized = lower.call('aten::layer_norm', [
    sum,
    ints(normalizedShape(node, lower)),
    lower.tensor(node.input(2)),
    lower.optional(node.inputs[3]),
    float(node.float('epsilon', 1e-5)),
  ]);
  return [normalized, undefined, undefined, sum];
};

/** x / sqrt(mean(x^2) + epsilon) * scale, in the operators that every PyTorch has. */
const rmsNormalization: LoweringRule = (node, lower) => {
  const x = lower.tensor(node.input(0));
  const axes = normalizedShape(node, lower).map((_, i) => -1 - i);
  const square = lower.call('aten::mul.Tensor', [x, x]);
  const mean = lower.call('aten::mean.dim', [square, ints(axes), bool(true)]);
  const shifted = lower.call('aten::add.Scalar', [mean, float(node.float('epsilon', 1e-5))]);
  const normalized = lower.call('aten::mul.Tensor', [x, lower.call('aten::rsqrt', [shifted])]);
  return lower.call('aten::mul.Tensor', [normalized, lower.tensor(node.input(1))]);
};

const batchNormalization: LoweringRule = (node, lower) =>
  lower.call('aten::batch_norm', [
    ...node.inputs.map((_, i) => lower.tensor(node.input(i))),
    bool(false),
    float(0),
    float(node.float('epsilon', 1e-5)),
    bool(false),
  ]);

const groupNormalization: LoweringRule = (node, lower) => {
  if ((lower.graph.opsets.get('') ?? 21) < 21) {
    throw lower.unsupported(node, 'before opset 21 its scale is given by group');
  }
  return lower.call('aten::group_norm', [
    lower.tensor(node.input(0)),
    int(node.int('num_groups')),
    lower.tensor(node.input(1)),
    lower.tensor(node.input(2)),
    float(node.float('epsilon', 1e-5)),
  ]);
};

const lpNormalization: LoweringRule = (node, lower) => {
  const x = lower.tensor(node.input(0));
  const axis = ints([node.int('axis', -1)]);
  const p = node.int('p', 2);
  const sizes = p === 1 ? lower.call('aten::abs', [x]) : lower.call('aten::mul.Tensor', [x, x]);
  const sum = lower.call('aten::sum.dim_IntList', [sizes, axis, bool(true)]);
  return lower.call('aten::div.Tensor', [x, p === 1 ? sum : lower.call('aten::sqrt', [sum])]);
};

type Reduce = (x: Operand, axes: Operand, keep: Operand, lower: Lowering) => Operand;

/** A reduction over axes, given as attribute (before opset 18) or as input; none means all. */
const reduction =
  (reduce: Reduce): LoweringRule =>
  (node, lower) => {
    const input = node.input(0);
    const given = node.has('axes')
      ? node.ints('axes')
      : node.inputs[1]
        ? lower.constantInts(node, node.inputs[1])
        : [];
    if (given.length === 0 && node.int('noop_with_empty_axes', 0)) return lower.tensor(input);
    const rank = lower.rank(node, input);
    const axes = given.length ? given : Array.from({ length: rank }, (_, axis) => axis);
    return reduce(lower.tensor(input), ints(axes), bool(node.int('keepdims', 1) === 1), lower);
  };

const reducer =
  (operator: string): Reduce =>
  (x, axes, keep, lower) =>
    lower.call(operator, [x, axes, keep]);

const sum = reducer('aten::sum.dim_IntList');

const sumOfSquares: Reduce = (x, axes, keep, lower) =>
  sum(lower.call('aten::mul.Tensor', [x, x]), axes, keep, lower);

const extremum =
  (operator: string): LoweringRule =>
  (node, lower) => {
    if (node.int('select_last_index', 0)) throw lower.unsupported(node, 'select_last_index is not lowered');
    const keep = bool(node.int('keepdims', 1) === 1);
    return lower.call(operator, [lower.tensor(node.input(0)), int(node.int('axis', 0)), keep]);
  };

const maxPool: LoweringRule = (node, lower) => {
  const kernel = node.ints('kernel_shape');
  const { symmetric, explicit } = windowPads(node, kernel, lower);
  if (explicit || kernel.length !== 2) {
    throw lower.unsupported(node, 'only 2-D windows with the same padding at both ends are lowered');
  }
  return lower.call('aten::max_pool2d', [
    lower.tensor(node.input(0)),
    ints(kernel),
    ints(node.ints('strides', [1, 1])),
    ints(symmetric),
    ints(node.ints('dilations', [1, 1])),
    bool(node.int('ceil_mode', 0) === 1),
  ]);
};

const averagePool: LoweringRule = (node, lower) => {
  const kernel = node.ints('kernel_shape');
  const { symmetric, explicit } = windowPads(node, kernel, lower);
  const dilated = node.ints('dilations', [1, 1]).some((d) => d !== 1);
  if (explicit || dilated || kernel.length !== 2) {
    throw lower.unsupported(node, 'only plain 2-D windows with the same padding at both ends are lowered');
  }
  return lower.call('aten::avg_pool2d', [
    lower.tensor(node.input(0)),
    ints(kernel),
    ints(node.ints('strides', [1, 1])),
    ints(symmetric),
    bool(node.int('ceil_mode', 0) === 1),
    bool(node.int('count_include_pad', 0) === 1),
  ]);
};

const globalPool =
  (operator: string): LoweringRule =>
  (node, lower) => {
    const rank = lower.rank(node, node.input(0));
    const axes = Array.from({ length: rank - 2 }, (_, i) => i + 2);
    return lower.call(operator, [lower.tensor(node.input(0)), ints(axes), bool(true)]);
  };

const cumulativeSum: LoweringRule = (node, lower) => {
  if (node.int('exclusive', 0) || node.int('reverse', 0)) {
    throw lower.unsupported(node, 'exclusive and reverse sums are not lowered');
  }
  const [axis] = lower.constantInts(node, node.input(1));
  return lower.call('aten::cumsum', [lower.tensor(node.input(0)), int(axis!)]);
};

/** Ops that gather over axes: softmax, norms, sums, pooling. */
export const reductionRules: Record<string, LoweringRule> = {
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
};
