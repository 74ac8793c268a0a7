import type { Node, Value } from '../../graph/graph.ts';
import { isComputed } from '../../graph/schema/arguments.ts';
import { reducedAxes, softmaxAxes, trailingAxes } from '../../graph/schema/axes.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import type { DataType, NumericType } from '../../graph/tensor.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import type { FileTensor } from './program.ts';
import { biasedLinear } from './rules-linear.ts';
import { type BuiltinName, tensorTypes } from './schema.ts';

const unary =
  (builtin: BuiltinName): LoweringRule<object> =>
  (node, _args, lower) => {
    const x = lower.tensor(node.input(0));
    return lower.call(builtin, [x], x.shape);
  };

/** A chain of a two-operand operator. */
const folded =
  (builtin: BuiltinName): LoweringRule<object> =>
  (node, _args, lower) =>
    node.inputs
      .map((_, i) => lower.tensor(node.input(i)))
      .reduce((total, next) => lower.binary(builtin, total, next));

const add: LoweringRule<object> = (node, args, lower) =>
  biasedLinear(node, lower) ?? folded('ADD')(node, args, lower);

const gelu: LoweringRule<OpArguments['Gelu']> = (node, { approximate }, lower) => {
  const x = lower.tensor(node.input(0));
  return lower.call('GELU', [x], x.shape, { approximate: approximate === 'tanh' });
};

/** ELU has no factor. */
const elu: LoweringRule<OpArguments['Elu']> = (node, { alpha }, lower) => {
  if (alpha !== 1) throw lower.unsupported(node, `its alpha is ${alpha}, not 1`);
  const x = lower.tensor(node.input(0));
  return lower.call('ELU', [x], x.shape);
};

const clip: LoweringRule<OpArguments['Clip']> = (node, { min, max }, lower) => {
  const bounded = (x: FileTensor, builtin: BuiltinName, bound: number | Value | undefined) => {
    if (bound === undefined) return x;
    if (isComputed(bound)) throw lower.unsupported(node, 'its bounds are computed');
    return lower.binary(builtin, x, lower.number(bound));
  };
  return bounded(bounded(lower.tensor(node.input(0)), 'MAXIMUM', min), 'MINIMUM', max);
};

/** What stands for a type in the file: activations are float32 throughout, counts int32. */
const standsFor: { readonly [T in DataType]?: NumericType } = {
  float32: 'float32',
  float16: 'float32',
  int64: 'int32',
  int32: 'int32',
  uint8: 'uint8',
  bool: 'bool',
};

const cast: LoweringRule<object> = (node, _args, lower) => {
  const x = lower.tensor(node.input(0));
  const to = standsFor[node.output().dtype!];
  if (!to || !standsFor[node.input(0).dtype!])
    throw lower.unsupported(node, `it makes ${node.output().dtype} of ${node.input(0).dtype}`);
  if (x.dtype === to) return x;
  const types = { from: tensorTypes[x.dtype]!, to: tensorTypes[to]! };
  return lower.call('CAST', [x], x.shape, types, undefined, to);
};

/**
 * erf(u) = gelu(sqrt(2) u) sqrt(2) / u - 1, of |u| away from 0 and with its sign: there is no operator for it, and the
 * exact GELU is one. Off by 2e-7 at most.
 */
const erf: LoweringRule<object> = (node, _args, lower) => {
  const x = lower.tensor(node.input(0));
  const size = lower.binary('MAXIMUM', lower.call('ABS', [x], x.shape), lower.number(1e-7));
  const scaled = lower.binary('MUL', size, lower.number(Math.SQRT2));
  const gelu = lower.call('GELU', [scaled], x.shape, { approximate: false });
  const ratio = lower.binary('DIV', lower.binary('MUL', gelu, lower.number(Math.SQRT2)), size);
  const positive = lower.binary('SUB', ratio, lower.number(1));
  return lower.binary('MUL', positive, lower.call('SIGN', [x], x.shape));
};

const identity: LoweringRule<object> = (node, _args, lower) => lower.tensor(node.input(0));

const softmax: LoweringRule<OpArguments['Softmax']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const axes = softmaxAxes(node, args, x.shape.length);
  const others = [...x.shape.keys()].filter((axis) => !axes.includes(axis));
  const order = [...others, ...axes];
  const moved = order.some((axis, i) => axis !== i) ? lower.transpose(x, order) : x;
  const along = axes.reduce((product, axis) => product * x.shape[axis]!, 1);
  const rows =
    axes.length === 1 ? moved : lower.reshape(moved, [...others.map((axis) => x.shape[axis]!), along]);
  const shares = lower.call('SOFTMAX', [rows], rows.shape, { beta: 1 });
  const apart = axes.length === 1 ? shares : lower.reshape(shares, moved.shape);
  return moved === x
    ? apart
    : lower.transpose(
        apart,
        order.map((_, axis) => order.indexOf(axis)),
      );
};

/** (x - mean) / sqrt(variance + epsilon) * scale + shift: XNNPACK has no operator for the whole. */
const layerNormalization: LoweringRule<OpArguments['LayerNormalization']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const axes = trailingAxes(args, x.shape.length);
  const centered = lower.binary('SUB', x, lower.reduce('MEAN', x, axes));
  const normalized = scaledDown(centered, axes, args.epsilon, lower);
  const scaled = lower.binary('MUL', normalized, lower.tensor(node.input(1)));
  const shift = node.inputs[2];
  return shift ? lower.binary('ADD', scaled, lower.tensor(shift)) : scaled;
};

const rmsNormalization: LoweringRule<OpArguments['RMSNormalization']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const normalized = scaledDown(x, trailingAxes(args, x.shape.length), args.epsilon, lower);
  return lower.binary('MUL', normalized, lower.tensor(node.input(1)));
};

/** x / sqrt(mean(x^2) + epsilon). */
function scaledDown(x: FileTensor, axes: readonly number[], epsilon: number, lower: Lowering): FileTensor {
  const variance = lower.reduce('MEAN', lower.binary('MUL', x, x), axes);
  const shifted = lower.binary('ADD', variance, lower.number(epsilon));
  return lower.binary('MUL', x, lower.call('RSQRT', [shifted], shifted.shape));
}

const reduction =
  (builtin: 'MEAN' | 'SUM' | 'REDUCE_MAX' | 'REDUCE_MIN'): LoweringRule<OpArguments['ReduceMean']> =>
  (node, args, lower) => {
    const x = lower.tensor(node.input(0));
    const axes = reducedAxes(args, x.shape.length);
    if (!axes) throw lower.unsupported(node, 'its axes are computed');
    const kept = lower.reduce(builtin, x, axes);
    return args.keepdims ? kept : lower.reshape(kept, node.output().staticShape);
  };

const euclidean: LoweringRule<OpArguments['ReduceL2']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const axes = reducedAxes(args, x.shape.length);
  if (!axes) throw lower.unsupported(node, 'its axes are computed');
  const sum = lower.reduce('SUM', lower.binary('MUL', x, x), axes);
  const length = lower.call('SQRT', [sum], sum.shape);
  return args.keepdims ? length : lower.reshape(length, node.output().staticShape);
};

/** x * factor + (shift - mean * factor), factor = scale / sqrt(variance + epsilon) of each channel. */
const batchNormalization: LoweringRule<OpArguments['BatchNormalization']> = (node, args, lower) => {
  if (args.training_mode || args.spatial !== 1) throw lower.unsupported(node, 'it is in training mode');
  const x = lower.tensor(node.input(0));
  const [scale, shift, mean, variance] = [1, 2, 3, 4].map((i) => lower.tensor(node.input(i)));
  const shifted = lower.binary('ADD', variance!, lower.number(args.epsilon));
  const factor = lower.binary('MUL', scale!, lower.call('RSQRT', [shifted], shifted.shape));
  const rest = lower.binary('SUB', shift!, lower.binary('MUL', mean!, factor));
  const perChannel = (y: FileTensor) => lower.reshape(y, [x.shape[1]!, ...x.shape.slice(2).map(() => 1)]);
  return lower.binary('ADD', lower.binary('MUL', x, perChannel(factor)), perChannel(rest));
};

const averaged: LoweringRule<object> = (node: Node, _args, lower) =>
  lower.reduce('MEAN', lower.tensor(node.input(0)), [2, 3]);

/** Ops that work on each element alone, on two at the same place, or along axes. */
export const elementwiseRules = {
  Abs: unary('ABS'),
  Ceil: unary('CEIL'),
  Cos: unary('COS'),
  Erf: erf,
  Exp: unary('EXP'),
  Floor: unary('FLOOR'),
  Log: unary('LOG'),
  Round: unary('ROUND'),
  Sign: unary('SIGN'),
  Sin: unary('SIN'),
  Neg: unary('NEG'),
  Relu: unary('RELU'),
  Sigmoid: unary('LOGISTIC'),
  Sqrt: unary('SQRT'),
  Tanh: unary('TANH'),
  HardSwish: unary('HARD_SWISH'),
  Gelu: gelu,
  Elu: elu,
  LeakyRelu: (node, { alpha }, lower) => {
    const x = lower.tensor(node.input(0));
    return lower.call('LEAKY_RELU', [x], x.shape, { alpha });
  },
  Clip: clip,
  Add: add,
  Sub: folded('SUB'),
  Mul: folded('MUL'),
  Div: folded('DIV'),
  Pow: folded('POW'),
  Min: folded('MINIMUM'),
  Max: folded('MAXIMUM'),
  Reciprocal: (node, _args, lower) => lower.binary('DIV', lower.number(1), lower.tensor(node.input(0))),
  'com.microsoft.QuickGelu': (node, { alpha }, lower) => {
    const x = lower.tensor(node.input(0));
    const inner = lower.binary('MUL', x, lower.number(alpha));
    return lower.binary('MUL', x, lower.call('LOGISTIC', [inner], x.shape));
  },
  Identity: identity,
  Dropout: identity,
  Cast: cast,
  Softmax: softmax,
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  ReduceMean: reduction('MEAN'),
  ReduceSum: reduction('SUM'),
  ReduceL2: euclidean,
  ReduceMax: reduction('REDUCE_MAX'),
  ReduceMin: reduction('REDUCE_MIN'),
  BatchNormalization: batchNormalization,
  GlobalAveragePool: averaged,
} satisfies LoweringRules;
