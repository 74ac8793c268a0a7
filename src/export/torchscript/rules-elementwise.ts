import type { Value } from '../../graph/graph.ts';
import { isComputed } from '../../graph/schema/arguments.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import type { NumericType } from '../../graph/tensor.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { float, int, intList, none, type Operand, string } from './program.ts';
import { biasedLinear } from './rules-linear.ts';

/** An ATen operator of one tensor. */
const unary =
  (operator: string): LoweringRule<object> =>
  (node, _args, lower) =>
    lower.call(operator, [lower.tensor(node.input(0))]);

/** An ATen operator of two tensors, the form for a plain number on the right where that is one. */
const binary =
  (tensorForm: string, scalarForm?: string, commutes = false): LoweringRule<object> =>
  (node, _args, lower) => {
    const [left, right] = [node.input(0), node.input(1)];
    if (scalarForm && standsForNumber(right, left, lower)) {
      return lower.call(scalarForm, [lower.tensor(left), lower.scalar(right)!]);
    }
    if (scalarForm && commutes && standsForNumber(left, right, lower)) {
      return lower.call(scalarForm, [lower.tensor(right), lower.scalar(left)!]);
    }
    return lower.call(tensorForm, [lower.tensor(left), lower.tensor(right)]);
  };

/** Can the constant be written as a number, not changing the other operand's shape by its own rank? */
const standsForNumber = (value: Value, other: Value, lower: Lowering): boolean =>
  lower.scalar(value) !== undefined && other.shape !== undefined && other.shape.length >= value.shape!.length;

/** Arithmetic on tensors, or on ints where both sides are axis lengths. */
const arithmetic =
  (onTensors: LoweringRule<object>, onInts: string): LoweringRule<object> =>
  (node, args, lower) => {
    const [left, right] = [node.input(0), node.input(1)];
    if (!lower.isShape(left) && !lower.isShape(right)) return onTensors(node, args, lower);
    const a = lower.ints(node, left);
    const b = lower.ints(node, right);
    const results = Array.from({ length: Math.max(a.length, b.length) }, (_, i) =>
      lower.call(onInts, [a[a.length === 1 ? 0 : i]!, b[b.length === 1 ? 0 : i]!], 'int'),
    );
    return node.output().shape?.length === 0 ? results[0]! : intList(results);
  };

/** A chain of the same two-operand operator over any number of inputs. */
const folded =
  (operator: string): LoweringRule<object> =>
  (node, _args, lower) =>
    node.inputs
      .map((_, i) => lower.tensor(node.input(i)))
      .reduce((total, next) => lower.call(operator, [total, next]));

const gelu: LoweringRule<OpArguments['Gelu']> = (node, { approximate }, lower) =>
  geluOf(lower, lower.tensor(node.input(0)), approximate);

const geluOf = (lower: Lowering, x: Operand, approximate: string): Operand =>
  lower.call('aten::gelu', [x, string(approximate)], 'Tensor', ['approximate']);

/** Gelu of x plus a bias. */
const biasGelu =
  (approximate: string): LoweringRule<object> =>
  (node, _args, lower) => {
    const x = lower.tensor(node.input(0));
    const bias = node.inputs[1];
    return geluOf(lower, bias ? lower.call('aten::add.Tensor', [x, lower.tensor(bias)]) : x, approximate);
  };

/** x * sigmoid(alpha * x). */
const quickGelu: LoweringRule<OpArguments['com.microsoft.QuickGelu']> = (node, { alpha }, lower) => {
  const x = lower.tensor(node.input(0));
  const scaled = lower.call('aten::mul.Scalar', [x, float(alpha)]);
  return lower.call('aten::mul.Tensor', [x, lower.call('aten::sigmoid', [scaled])]);
};

/** max(0, min(1, alpha * x + beta)). */
const hardSigmoid: LoweringRule<OpArguments['HardSigmoid']> = (node, { alpha, beta }, lower) => {
  const scaled = lower.call('aten::mul.Scalar', [lower.tensor(node.input(0)), float(alpha)]);
  const shifted = lower.call('aten::add.Scalar', [scaled, float(beta)]);
  return lower.call('aten::clamp', [shifted, float(0), float(1)]);
};

const clip: LoweringRule<OpArguments['Clip']> = (node, { min, max }, lower) => {
  const bound = (name: string, value: number | Value | undefined): Operand => {
    if (value === undefined) return none;
    if (isComputed(value) || !Number.isFinite(value)) {
      throw lower.unsupported(node, `its ${name} is no finite constant`);
    }
    return node.input(0).dtype?.includes('int') ? int(value) : float(value);
  };
  return lower.call('aten::clamp', [lower.tensor(node.input(0)), bound('min', min), bound('max', max)]);
};

const withSlope =
  (operator: string): LoweringRule<{ readonly alpha: number }> =>
  (node, { alpha }, lower) =>
    lower.call(operator, [lower.tensor(node.input(0)), float(alpha)]);

const identity: LoweringRule<object> = (node, _args, lower) =>
  lower.isShape(node.input(0)) ? intList(lower.ints(node, node.input(0))) : lower.tensor(node.input(0));

/** PyTorch's `ScalarType` numbers. */
const scalarTypes: Partial<Record<NumericType, number>> = {
  uint8: 0,
  int8: 1,
  int16: 2,
  int32: 3,
  int64: 4,
  float16: 5,
  float32: 6,
  float64: 7,
  bool: 11,
  bfloat16: 15,
};

const cast: LoweringRule<object> = (node, args, lower) => {
  const input = node.input(0);
  if (lower.isShape(input)) return identity(node, args, lower);
  const target = node.output().dtype;
  const type = target === undefined || target === 'string' ? undefined : scalarTypes[target];
  if (type === undefined) throw lower.unsupported(node, `PyTorch has no element type for ${target}`);
  if (input.dtype === target) return lower.tensor(input);
  const flags = [false, false].map((value): Operand => ({ kind: 'bool', value }));
  return lower.call('aten::to.dtype', [lower.tensor(input), int(type), ...flags]);
};

const constant: LoweringRule<OpArguments['Constant']> = (node, { value }, lower) => {
  if (!value) throw lower.unsupported(node, 'its value is no tensor');
  return lower.weight(node.output().name, value);
};

/** On axis lengths a condition that is known picks one of each pair. */
const where: LoweringRule<object> = (node, _args, lower) => {
  const [condition, x, y] = [node.input(0), node.input(1), node.input(2)];
  if ((lower.isShape(x) || lower.isShape(y)) && condition.tensor) {
    const [left, right] = [lower.ints(node, x), lower.ints(node, y)];
    const picks = Array.from(condition.tensor.data as Uint8Array);
    const length = Math.max(picks.length, left.length, right.length);
    const at = <T>(list: readonly T[], i: number): T => list[list.length === 1 ? 0 : i]!;
    return intList(Array.from({ length }, (_, i) => at(at(picks, i) ? left : right, i)));
  }
  return lower.call(
    'aten::where.self',
    [condition, x, y].map((value) => lower.tensor(value)),
  );
};

/** ONNX's Mod with fmod=1 has the sign of the dividend, as C's; without it, of the divisor, as Python's. */
const mod: LoweringRule<OpArguments['Mod']> = (node, args, lower) =>
  binary(args.fmod ? 'aten::fmod.Tensor' : 'aten::remainder.Tensor')(node, args, lower);

const divide: LoweringRule<object> = (node, args, lower) => {
  if (node.output().dtype?.includes('int')) {
    const args = [lower.tensor(node.input(0)), lower.tensor(node.input(1)), string('trunc')];
    return lower.call('aten::div.Tensor_mode', args, 'Tensor', ['rounding_mode']);
  }
  return binary('aten::div.Tensor', 'aten::div.Scalar')(node, args, lower);
};

const add: LoweringRule<object> = (node, args, lower) =>
  biasedLinear(node, lower) ?? binary('aten::add.Tensor', 'aten::add.Scalar', true)(node, args, lower);

/** Ops that work on each element alone, or on two at the same place. */
export const elementwiseRules = {
  Abs: unary('aten::abs'),
  Acos: unary('aten::acos'),
  Asin: unary('aten::asin'),
  Atan: unary('aten::atan'),
  Ceil: unary('aten::ceil'),
  Cos: unary('aten::cos'),
  Cosh: unary('aten::cosh'),
  Erf: unary('aten::erf'),
  Exp: unary('aten::exp'),
  Floor: unary('aten::floor'),
  Log: unary('aten::log'),
  Mish: unary('aten::mish'),
  Neg: unary('aten::neg'),
  Not: unary('aten::logical_not'),
  Reciprocal: unary('aten::reciprocal'),
  Relu: unary('aten::relu'),
  Round: unary('aten::round'),
  Sigmoid: unary('aten::sigmoid'),
  Sign: unary('aten::sign'),
  Sin: unary('aten::sin'),
  Sinh: unary('aten::sinh'),
  Softplus: unary('aten::softplus'),
  Sqrt: unary('aten::sqrt'),
  Tan: unary('aten::tan'),
  Tanh: unary('aten::tanh'),
  HardSwish: unary('aten::hardswish'),
  IsNaN: unary('aten::isnan'),
  IsInf: unary('aten::isinf'),
  Elu: withSlope('aten::elu'),
  Celu: withSlope('aten::celu'),
  LeakyRelu: withSlope('aten::leaky_relu'),
  HardSigmoid: hardSigmoid,
  Gelu: gelu,
  'com.microsoft.Gelu': biasGelu('none'),
  'com.microsoft.BiasGelu': biasGelu('none'),
  'com.microsoft.FastGelu': biasGelu('tanh'),
  'com.microsoft.QuickGelu': quickGelu,
  Softsign: (node, _args, lower) => {
    const x = lower.tensor(node.input(0));
    return lower.call('aten::div.Tensor', [
      x,
      lower.call('aten::add.Scalar', [lower.call('aten::abs', [x]), int(1)]),
    ]);
  },
  Clip: clip,
  PRelu: (node, _args, lower) => {
    const x = lower.tensor(node.input(0));
    const positive = lower.call('aten::relu', [x]);
    const negative = lower.call('aten::sub.Tensor', [x, positive]);
    const sloped = lower.call('aten::mul.Tensor', [negative, lower.tensor(node.input(1))]);
    return lower.call('aten::add.Tensor', [positive, sloped]);
  },

  Add: arithmetic(add, 'aten::add.int'),
  Sub: arithmetic(binary('aten::sub.Tensor', 'aten::sub.Scalar'), 'aten::sub.int'),
  Mul: arithmetic(binary('aten::mul.Tensor', 'aten::mul.Scalar', true), 'aten::mul.int'),
  Div: arithmetic(divide, 'aten::floordiv.int'),
  Mod: mod,
  Pow: binary('aten::pow.Tensor_Tensor', 'aten::pow.Tensor_Scalar'),
  Min: folded('aten::minimum'),
  Max: folded('aten::maximum'),
  Sum: folded('aten::add.Tensor'),
  Mean: (node, args, lower) => {
    const total = folded('aten::add.Tensor')(node, args, lower) as Operand;
    return lower.call('aten::div.Scalar', [total, int(node.inputs.length)]);
  },
  Equal: binary('aten::eq.Tensor', 'aten::eq.Scalar', true),
  Greater: binary('aten::gt.Tensor', 'aten::gt.Scalar'),
  GreaterOrEqual: binary('aten::ge.Tensor', 'aten::ge.Scalar'),
  Less: binary('aten::lt.Tensor', 'aten::lt.Scalar'),
  LessOrEqual: binary('aten::le.Tensor', 'aten::le.Scalar'),
  And: binary('aten::logical_and'),
  Or: binary('aten::logical_or'),
  Xor: binary('aten::logical_xor'),
  Where: where,

  Identity: identity,
  Dropout: identity,
  Cast: cast,
  CastLike: cast,
  Constant: constant,
} satisfies LoweringRules;
