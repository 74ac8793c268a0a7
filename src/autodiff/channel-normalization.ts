import { float } from '../graph/attribute.ts';
import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import { inferNode } from '../graph/infer.ts';
import type { OpArguments } from '../graph/schema/signature.ts';
import { centeredGradient, mean } from './normalization.ts';
import {
  type GradientContext,
  type GradientRules,
  lengthsOf,
  number,
  reshapeLike,
  shapeOf,
  single,
} from './rule.ts';

/** A vector of channels laid along axis 1 of a value of this rank. */
const alongChannels = (b: Builder, vector: Value, rank: number): Value =>
  rank <= 2 ? vector : b.op('Reshape', [vector, b.ints([-1, ...new Array<number>(rank - 2).fill(1)])]);

const sumOver = (b: Builder, value: Value, axes: readonly number[]): Value =>
  b.op('ReduceSum', [value, b.ints(axes)], { keepdims: 0 });

/** All axes but that of the channels. */
const otherAxes = (rank: number): number[] => [...Array(rank).keys()].filter((axis) => axis !== 1);

/** The input, normalized over some of its axes, and one over the deviation there. */
function normalized(b: Builder, x: Value, axes: number[], epsilon: number) {
  const centered = b.op('Sub', [x, mean(b, x, axes)]);
  const variance = mean(b, b.op('Mul', [centered, centered]), axes);
  const deviation = b.op('Sqrt', [b.op('Add', [variance, number(b, epsilon, x)])]);
  const inverse = b.op('Reciprocal', [deviation]);
  return { hat: b.op('Mul', [centered, inverse]), inverse, axes };
}

const inverseDeviation = (b: Builder, variance: Value, epsilon: number): Value =>
  b.op('Reciprocal', [b.op('Sqrt', [b.op('Add', [variance, number(b, epsilon, variance)])])]);

/** By running statistics, which are numbers like any other: `y = scale (x - mean) / deviation + shift`. */
function byRunningStatistics(
  node: Node,
  { epsilon }: OpArguments['BatchNormalization'],
  g: Value,
  { builder: b, wants }: GradientContext,
): (Value | undefined)[] {
  const [x, scale, , average, variance] = node.inputs as Value[];
  const rank = shapeOf(x!).length;
  const total = sumOver(b, g, otherAxes(rank));
  const inverse = inverseDeviation(b, variance!, epsilon);
  const slope = b.op('Mul', [scale!, inverse]);
  const centered = () => b.op('Sub', [x!, alongChannels(b, average!, rank)]);
  const correlation =
    wants(1) || wants(4) ? sumOver(b, b.op('Mul', [g, centered()]), otherAxes(rank)) : undefined;
  const cubed = () => b.op('Mul', [slope, b.op('Mul', [inverse, inverse])]);
  return [
    wants(0) ? b.op('Mul', [g, alongChannels(b, slope, rank)]) : undefined,
    wants(1) ? b.op('Mul', [correlation!, inverse]) : undefined,
    wants(2) ? total : undefined,
    wants(3) ? b.op('Neg', [b.op('Mul', [total, slope])]) : undefined,
    wants(4) ? b.op('Mul', [b.op('Mul', [correlation!, cubed()]), number(b, -0.5, g)]) : undefined,
  ];
}

/**
 * By the statistics of the batch, which follow x: with `h` the normalized x, `slope (g - mean(g) - h mean(g h))` over
 * the places of a channel. What is taken off is x normalized once more, with the means as scale and shift: one pass.
 */
function byBatchStatistics(
  node: Node,
  { epsilon, momentum }: OpArguments['BatchNormalization'],
  g: Value,
  { builder: b, wants }: GradientContext,
): (Value | undefined)[] {
  const [x, scale] = node.inputs as Value[];
  const rank = shapeOf(x!).length;
  const [channels] = lengthsOf(x!, [1]);
  const [average, variance] = batchStatistics(b, node, momentum);
  const inverse = inverseDeviation(b, variance, epsilon);
  const centered = b.op('Sub', [x!, alongChannels(b, average, rank)]);
  const total = sumOver(b, g, otherAxes(rank));
  const correlation = b.op('Mul', [sumOver(b, b.op('Mul', [g, centered]), otherAxes(rank)), inverse]);
  const towardsInput = () => {
    const places = b.op('Div', [b.op('CastLike', [b.op('Size', [x!]), g]), number(b, channels!, g)]);
    const means = [correlation, total].map((sum) => b.op('Div', [sum, places]));
    const taken = b.op('BatchNormalization', [x!, ...means, average, variance], { epsilon: float(epsilon) });
    return b.op('Mul', [b.op('Sub', [g, taken]), alongChannels(b, b.op('Mul', [scale!, inverse]), rank)]);
  };
  return [
    wants(0) ? towardsInput() : undefined,
    wants(1) ? correlation : undefined,
    wants(2) ? total : undefined,
  ];
}

/** Mean and variance that a BatchNormalization in training mode found: its running statistics, where nothing of old ones stays. */
function batchStatistics(b: Builder, node: Node, momentum: number): [mean: Value, variance: Value] {
  const again = () => {
    const operands = node.inputs.map((value, i) => (i < 3 ? value : overwritable(b, value!)));
    const attributes = { ...Object.fromEntries(node.attributes), momentum: float(0) };
    return b.node('BatchNormalization', operands, attributes, 3);
  };
  const measured = momentum === 0 ? node : again();
  b.graph.extendOutputs(measured, 3);
  inferNode(measured);
  return [measured.output(1), measured.output(2)];
}

/**
 * Running statistics for a BatchNormalization in training mode that gives them no weight. ONNX Runtime writes the new ones
 * over those it is given, graph inputs too, so it gets some of its own.
 */
export const overwritable = (b: Builder, statistics: Value): Value => b.op('Neg', [statistics]);

/** Normalizations whose scale and shift are a number a channel, the channels on axis 1. */
export const channelNormalization = {
  BatchNormalization: single((node, args, g, context) =>
    (args.training_mode === 1 ? byBatchStatistics : byRunningStatistics)(node, args, g, context),
  ),

  InstanceNormalization: single((node, args, g, { builder: b, wants }) => {
    const [x, scale] = [node.input(0), node.input(1)];
    const rank = shapeOf(x).length;
    const parts = normalized(b, x, otherAxes(rank).slice(1), args.epsilon);
    const w = b.op('Mul', [g, alongChannels(b, scale, rank)]);
    return [
      wants(0) ? centeredGradient(b, parts, w, b.op('Mul', [w, parts.hat])) : undefined,
      wants(1) ? sumOver(b, b.op('Mul', [g, parts.hat]), otherAxes(rank)) : undefined,
      wants(2) ? sumOver(b, g, otherAxes(rank)) : undefined,
    ];
  }),

  /** Before operator set 21 scale and shift are a number a group, which is one for each of its channels. */
  GroupNormalization: single((node, { epsilon, num_groups: groups }, g, { builder: b, wants }) => {
    const [x, scale] = [node.input(0), node.input(1)];
    const rank = shapeOf(x).length;
    const [channels] = lengthsOf(x, [1]);
    const each = channels! / groups;
    const perGroup = node.opset < 21;
    const grouped = (value: Value) => b.op('Reshape', [value, b.ints([0, groups, -1])]);
    const parts = normalized(b, grouped(x), [2], epsilon);
    const hat = reshapeLike(b, parts.hat, x);
    const perChannel = perGroup
      ? b.op('Reshape', [
          b.op('Expand', [b.op('Unsqueeze', [scale, b.ints([1])]), b.ints([groups, each])]),
          b.ints([channels!]),
        ])
      : scale;
    const parameter = (value: Value) => {
      const sums = sumOver(b, value, otherAxes(rank));
      return perGroup ? sumOver(b, b.op('Reshape', [sums, b.ints([groups, each])]), [1]) : sums;
    };
    const w = grouped(b.op('Mul', [g, alongChannels(b, perChannel, rank)]));
    return [
      wants(0) ? reshapeLike(b, centeredGradient(b, parts, w, b.op('Mul', [w, parts.hat])), x) : undefined,
      wants(1) ? parameter(b.op('Mul', [g, hat])) : undefined,
      wants(2) ? parameter(g) : undefined,
    ];
  }),

  /** `y = x / n`: for p = 2 `(g - y sum(g y)) / n`, for p = 1 `(g - sign(x) sum(g y)) / n`. */
  LpNormalization: single((node, { axis, p }, g, { builder: b }) => {
    const [x, y] = [node.input(0), node.output()];
    const norm = b.op(p === 1 ? 'ReduceL1' : 'ReduceL2', [x, b.ints([axis])], { keepdims: 1 });
    const along = b.op('ReduceSum', [b.op('Mul', [g, y]), b.ints([axis])], { keepdims: 1 });
    const direction = p === 1 ? b.op('Sign', [x]) : y;
    return [b.op('Div', [b.op('Sub', [g, b.op('Mul', [direction, along])]), norm])];
  }),
} satisfies GradientRules;
