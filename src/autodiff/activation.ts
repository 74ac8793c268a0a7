import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { softmaxAxes } from '../graph/schema/axes.ts';
import { type GradientContext, type GradientRules, number, shapeOf, single, unary } from './rule.ts';

/**
 * Gelu, exact: `x * P(x)` with the normal distribution P has the slope `P(x) + x p(x)`. With
 * `u = x / sqrt 2` that is `1/2 * (1 + erf u + u * exp(ln(2 / sqrt pi) - u^2))`.
 */
const geluExact = (x: Value, g: Value, b: Builder): Value => {
  const u = b.op('Mul', [x, number(b, Math.SQRT1_2, x)]);
  const exponent = b.op('Sub', [number(b, Math.log(2 / Math.sqrt(Math.PI)), x), b.op('Mul', [u, u])]);
  const bell = b.op('Mul', [u, b.op('Exp', [exponent])]);
  const slope = b.op('Add', [b.op('Add', [b.op('Erf', [u]), number(b, 1, x)]), bell]);
  return b.op('Mul', [b.op('Mul', [g, slope]), number(b, 0.5, g)]);
};

/**
 * Gelu by tanh: `x/2 (1 + t)`, `t = tanh(k (x + 0.044715 x^3))`, `k = sqrt(2/pi)`, has the slope
 * `1/2 (1 + t) (1 + x (1 - t) k (1 + 3 * 0.044715 x^2))`.
 */
const geluTanh = (x: Value, g: Value, b: Builder): Value => {
  const k = Math.sqrt(2 / Math.PI);
  const c = 0.044715;
  const square = b.op('Mul', [x, x]);
  const affine = (scale: number, offset: number) =>
    b.op('Add', [b.op('Mul', [square, number(b, scale, x)]), number(b, offset, x)]);
  const t = b.op('Tanh', [b.op('Mul', [x, affine(k * c, k)])]);
  const inner = b.op('Mul', [b.op('Mul', [x, affine(3 * k * c, k)]), b.op('Sub', [number(b, 1, x), t])]);
  const slope = b.op('Mul', [b.op('Add', [t, number(b, 1, x)]), b.op('Add', [inner, number(b, 1, x)])]);
  return b.op('Mul', [b.op('Mul', [g, slope]), number(b, 0.5, g)]);
};

/** Slope of `x * sigmoid(a x)`: `s + a x s (1 - s) = s (1 + a x (1 - s))`. */
const swish = (x: Value, g: Value, alpha: number, b: Builder): Value => {
  const scaled = alpha === 1 ? x : b.op('Mul', [x, number(b, alpha, x)]);
  const s = b.op('Sigmoid', [scaled]);
  const rest = b.op('Mul', [scaled, b.op('Sub', [number(b, 1, x), s])]);
  return b.op('Mul', [g, b.op('Mul', [s, b.op('Add', [rest, number(b, 1, x)])])]);
};

/**
 * `sum(g * y)` over the axes of the softmax. Where y goes into one product `o = y v` and nowhere else,
 * `g = do v^T`, so the sum is that of `do * o`, which has fewer columns (FlashAttention, 2022).
 */
function weightedSum(
  node: Node,
  axes: readonly number[],
  g: Value,
  { builder: b, gradientOf }: GradientContext,
): Value {
  const y = node.output();
  const rank = shapeOf(y).length;
  const readers = y.uses.filter(({ node: reader }) => reader.outputs.some((o) => o && gradientOf(o)));
  const reader = readers[0]?.node;
  const plain =
    reader !== undefined &&
    takesRows(reader) &&
    readers.length === 1 &&
    readers[0]!.index === 0 &&
    axes.join() === `${rank - 1}` &&
    shapeOf(reader.output()).length === rank;
  const weighted = plain ? b.op('Mul', [gradientOf(reader.output())!, reader.output()]) : b.op('Mul', [g, y]);
  return b.op('ReduceSum', [weighted, plain ? b.ints([-1]) : b.ints(axes)], { keepdims: 1 });
}

/** Is the node a product that sums over the last axis of its first operand? */
function takesRows(node: Node): boolean {
  if (node.op === 'MatMul') return true;
  if (node.op !== 'com.microsoft.FusedMatMul') return false;
  const { transA, transBatchA, transBatchB } = argumentsOf<'com.microsoft.FusedMatMul'>(node);
  return transA === 0 && transBatchA === 0 && transBatchB === 0;
}

/** Functions with a nonlinearity of their own name. */
export const activation = {
  Relu: unary(({ g, y }, b) => b.op('Where', [b.op('Greater', [y, number(b, 0, y)]), g, number(b, 0, g)])),
  LeakyRelu: unary(({ g, x }, b, { alpha }) =>
    b.op('Where', [b.op('Greater', [x, number(b, 0, x)]), g, b.op('Mul', [g, number(b, alpha, g)])]),
  ),
  Tanh: unary(({ g, y }, b) => b.op('Mul', [g, b.op('Sub', [number(b, 1, y), b.op('Mul', [y, y])])])),
  Sigmoid: unary(({ g, y }, b) => b.op('Mul', [g, b.op('Mul', [y, b.op('Sub', [number(b, 1, y), y])])])),
  Softplus: unary(({ g, x }, b) => b.op('Mul', [g, b.op('Sigmoid', [x])])),
  Gelu: unary(({ x, g }, b, { approximate }) =>
    approximate === 'tanh' ? geluTanh(x, g, b) : geluExact(x, g, b),
  ),
  'com.microsoft.Gelu': unary(({ x, g }, b) => geluExact(x, g, b)),
  'com.microsoft.QuickGelu': unary(({ x, g }, b, { alpha }) => swish(x, g, alpha, b)),
  /** A straight line that is cut off at 0 and 1. */
  HardSigmoid: unary(({ y, g }, b, { alpha }) => {
    const inside = b.op('And', [b.op('Greater', [y, number(b, 0, y)]), b.op('Less', [y, number(b, 1, y)])]);
    return b.op('Where', [inside, b.op('Mul', [g, number(b, alpha, g)]), number(b, 0, g)]);
  }),
  /** Below zero `y = alpha (exp x - 1)`, whose slope is `y + alpha`. */
  Elu: unary(({ x, y, g }, b, { alpha }) => {
    const below = b.op('Mul', [g, b.op('Add', [y, number(b, alpha, y)])]);
    return b.op('Where', [b.op('Greater', [x, number(b, 0, x)]), g, below]);
  }),
  Softsign: unary(({ x, g }, b) => {
    const reach = b.op('Add', [b.op('Abs', [x]), number(b, 1, x)]);
    return b.op('Div', [g, b.op('Mul', [reach, reach])]);
  }),
  /** `x t` with `t = tanh(softplus x)` has the slope `t + x sigmoid(x) (1 - t^2)`. */
  Mish: unary(({ x, g }, b) => {
    const t = b.op('Tanh', [b.op('Softplus', [x])]);
    const bend = b.op('Sub', [number(b, 1, x), b.op('Mul', [t, t])]);
    const rest = b.op('Mul', [b.op('Mul', [x, b.op('Sigmoid', [x])]), bend]);
    return b.op('Mul', [g, b.op('Add', [t, rest])]);
  }),
  HardSwish: unary(({ x, g }, b) => {
    const slope = b.op('Add', [b.op('Mul', [x, number(b, 1 / 3, x)]), number(b, 0.5, x)]);
    const inside = b.op('Where', [b.op('Greater', [x, number(b, -3, x)]), slope, number(b, 0, x)]);
    const all = b.op('Where', [b.op('Less', [x, number(b, 3, x)]), inside, number(b, 1, x)]);
    return b.op('Mul', [g, all]);
  }),
  /** y = softmax(x): `y (g - sum(g y))`. */
  Softmax: single((node, args, g, context) => {
    const b = context.builder;
    const axes = softmaxAxes(node, args, shapeOf(g).length);
    const centered = b.op('Sub', [g, weightedSum(node, axes, g, context)]);
    return [b.op('Mul', [centered, node.output()])];
  }),
  /** y = log softmax(x): `g - exp(y) sum(g)`. */
  LogSoftmax: single((node, args, g, { builder: b }) => {
    const axes = softmaxAxes(node, args, shapeOf(g).length);
    const total = b.op('ReduceSum', [g, b.ints(axes)], { keepdims: 1 });
    return [b.op('Sub', [g, b.op('Mul', [b.op('Exp', [node.output()]), total])])];
  }),
} satisfies GradientRules;
