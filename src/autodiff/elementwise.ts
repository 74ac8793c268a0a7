import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { rowsFor } from '../graph/schema/signature.ts';
import {
  assertBroadcastIsKnown,
  type GradientRule,
  type GradientRules,
  number,
  operandOf,
  single,
  sumTo,
  unary,
  zerosLike,
} from './rule.ts';

/** A binary op with broadcasting: how the gradient of each side is made before it is summed to its shape. */
const binary = (
  left: (operands: { x: Value; y: Value; g: Value; out: Value }, b: Builder) => Value,
  right: (operands: { x: Value; y: Value; g: Value; out: Value }, b: Builder) => Value,
): GradientRule<object> =>
  single((node, _args, g, { builder, wants }) => {
    assertBroadcastIsKnown(node);
    const [x, y] = [node.input(0), node.input(1)];
    const operands = { x, y, g, out: node.output() };
    return [
      wants(0) ? sumTo(builder, left(operands, builder), x) : undefined,
      wants(1) ? sumTo(builder, right(operands, builder), y) : undefined,
    ];
  });

/** d x^p = p x^(p-1); the whole powers that models use are written without Pow. */
const powerLeft = ({ x, y, g }: { x: Value; y: Value; g: Value }, b: Builder): Value => {
  const exponent = y.tensor?.size === 1 ? Number(y.tensor.data[0]) : undefined;
  if (exponent === 2) return b.op('Mul', [b.op('Mul', [g, x]), number(b, 2, x)]);
  if (exponent === 0.5 || exponent === undefined) {
    const slope = b.op('Mul', [y, b.op('Pow', [x, b.op('Sub', [y, number(b, 1, y)])])]);
    return b.op('Mul', [g, slope]);
  }
  const power = b.op('Pow', [x, number(b, exponent - 1, x)]);
  return b.op('Mul', [b.op('Mul', [g, power]), number(b, exponent, x)]);
};

/** Where an element of `x` is the one that reached the output. Ties pass it to each side. */
const where = (b: Builder, condition: Value, g: Value) => b.op('Where', [condition, g, number(b, 0, g)]);

/** Arithmetic, element by element. */
export const elementwise = {
  Add: binary(
    ({ g }) => g,
    ({ g }) => g,
  ),
  Sub: binary(
    ({ g }) => g,
    ({ g }, b) => b.op('Neg', [g]),
  ),
  Mul: binary(
    ({ g, y }, b) => b.op('Mul', [g, y]),
    ({ g, x }, b) => b.op('Mul', [g, x]),
  ),
  Div: binary(
    ({ g, y }, b) => b.op('Div', [g, y]),
    ({ g, y, out }, b) => b.op('Neg', [b.op('Div', [b.op('Mul', [g, out]), y])]),
  ),
  Pow: binary(powerLeft, ({ g, x, out }, b) => b.op('Mul', [b.op('Mul', [g, out]), b.op('Log', [x])])),
  Max: binary(
    ({ g, x, y }, b) => where(b, b.op('GreaterOrEqual', [x, y]), g),
    ({ g, x, y }, b) => where(b, b.op('Less', [x, y]), g),
  ),
  Min: binary(
    ({ g, x, y }, b) => where(b, b.op('LessOrEqual', [x, y]), g),
    ({ g, x, y }, b) => where(b, b.op('Greater', [x, y]), g),
  ),
  Sum: single((node, _args, g, { builder, wants }) => {
    assertBroadcastIsKnown(node);
    return node.inputs.map((input, i) => (input && wants(i) ? sumTo(builder, g, input) : undefined));
  }),
  Mean: single((node, _args, g, { builder, wants }) => {
    assertBroadcastIsKnown(node);
    const share = builder.op('Mul', [g, number(builder, 1 / node.inputs.length, g)]);
    return node.inputs.map((input, i) => (input && wants(i) ? sumTo(builder, share, input) : undefined));
  }),
  PRelu: binary(
    ({ g, x, y }, b) => b.op('Where', [b.op('Greater', [x, number(b, 0, x)]), g, b.op('Mul', [g, y])]),
    ({ g, x }, b) => b.op('Mul', [g, b.op('Min', [x, number(b, 0, x)])]),
  ),
  Neg: unary(({ g }, b) => b.op('Neg', [g])),
  Abs: unary(({ g, x }, b) => b.op('Mul', [g, b.op('Sign', [x])])),
  Sqrt: unary(({ g, y }, b) => b.op('Div', [b.op('Mul', [g, number(b, 0.5, g)]), y])),
  Exp: unary(({ g, y }, b) => b.op('Mul', [g, y])),
  Log: unary(({ g, x }, b) => b.op('Div', [g, x])),
  Reciprocal: unary(({ g, y }, b) => b.op('Neg', [b.op('Mul', [g, b.op('Mul', [y, y])])])),
  Sin: unary(({ g, x }, b) => b.op('Mul', [g, b.op('Cos', [x])])),
  Cos: unary(({ g, x }, b) => b.op('Neg', [b.op('Mul', [g, b.op('Sin', [x])])])),
  Erf: unary(({ g, x }, b) => {
    const bell = b.op('Exp', [b.op('Neg', [b.op('Mul', [x, x])])]);
    return b.op('Mul', [b.op('Mul', [g, bell]), number(b, 2 / Math.sqrt(Math.PI), g)]);
  }),
  Identity: unary(({ g }) => g),
  CastLike: unary(({ g, x }, b) => (x.dtype === g.dtype ? g : b.op('CastLike', [g, x]))),
  Sinh: unary(({ g, x }, b) => b.op('Mul', [g, b.op('Cosh', [x])])),
  Cosh: unary(({ g, x }, b) => b.op('Mul', [g, b.op('Sinh', [x])])),
  Tan: unary(({ g, y }, b) => b.op('Mul', [g, b.op('Add', [b.op('Mul', [y, y]), number(b, 1, y)])])),
  Cast: unary(({ g, x }, b) => (x.dtype === g.dtype ? g : b.op('CastLike', [g, x]))),
  Where: single((node, _args, g, { builder, wants }) => {
    assertBroadcastIsKnown(node);
    const [condition, x, y] = [node.input(0), node.input(1), node.input(2)];
    const zero = number(builder, 0, g);
    return [
      undefined,
      wants(1) ? sumTo(builder, builder.op('Where', [condition, g, zero]), x) : undefined,
      wants(2) ? sumTo(builder, builder.op('Where', [condition, zero, g]), y) : undefined,
    ];
  }),
  Clip: single((node, { min, max }, g, { builder: b }) => {
    const x = node.input(0);
    const masks = [
      ...(min === undefined ? [] : [b.op('GreaterOrEqual', [x, operandOf(b, min, x)])]),
      ...(max === undefined ? [] : [b.op('LessOrEqual', [x, operandOf(b, max, x)])]),
    ];
    return [masks.reduce((gradient, mask) => b.op('Where', [mask, gradient, number(b, 0, g)]), g)];
  }),
  ...rowsFor(
    'Floor Ceil Round Sign',
    unary<object>(({ x }, b) => zerosLike(b, x)),
  ),
} satisfies GradientRules;
