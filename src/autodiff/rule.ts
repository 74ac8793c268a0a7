import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import { isUnknown, sameShape } from '../graph/dim.ts';
import type { Node, Shape, Value } from '../graph/graph.ts';
import { isComputed } from '../graph/schema/arguments.ts';
import type { OpArguments, OpName } from '../graph/schema/signature.ts';
import { Tensor } from '../graph/tensor.ts';

/** What a gradient rule is given besides the node. */
export interface GradientContext {
  /** Writes the gradient nodes, at the end of the graph. */
  readonly builder: Builder;
  /** Whether anybody asks for the gradient of input `index`. Rules leave out what nobody wants. */
  wants(index: number): boolean;
  /** The whole gradient of a value whose readers have all been differentiated; undefined when none flows. */
  gradientOf(value: Value): Value | undefined;
}

/**
 * The vector-Jacobian product of an op with arguments `A`.
 * @param gradients the gradient of each output; undefined where none flows
 * @returns the gradient of each input, of the input's shape; undefined for none
 */
export type GradientRule<A> = (
  node: Node,
  args: A,
  gradients: readonly (Value | undefined)[],
  context: GradientContext,
) => readonly (Value | undefined)[];

export type GradientRules = { readonly [O in OpName]?: GradientRule<OpArguments[O]> };

/** A rule for an op with one output, of which the gradient is always there. */
export const single =
  <A>(
    rule: (node: Node, args: A, g: Value, context: GradientContext) => readonly (Value | undefined)[],
  ): GradientRule<A> =>
  (node, args, [g, ...others], context) => {
    if (others.some((other) => other)) {
      throw new UserError(`${node.label}: only its first output has a gradient, and another is read too`);
    }
    return g ? rule(node, args, g, context) : [];
  };

/** A rule for `y = f(x)` elementwise: given how to make `g * f'(x)`. */
export const unary = <A>(
  rule: (operands: { x: Value; y: Value; g: Value }, b: Builder, args: A) => Value,
): GradientRule<A> =>
  single((node, args, g, { builder }) => [rule({ x: node.input(0), y: node.output(), g }, builder, args)]);

/** The shape of a value. @throws UserError when inference has not found it */
export function shapeOf(value: Value): Shape {
  if (!value.shape) throw new UserError(`the gradient at ${value.name} needs its shape, which is unknown`);
  return value.shape;
}

/** The shape of a value whose axes `axes` have to be numbers. @throws UserError when one is symbolic */
export function lengthsOf(value: Value, axes: readonly number[]): number[] {
  const shape = shapeOf(value);
  return axes.map((axis) => {
    const dim = shape[axis];
    if (typeof dim === 'number') return dim;
    throw new UserError(`the gradient at ${value.name} [${shape}] needs axis ${axis} to be a number`);
  });
}

/** A scalar of the dtype that `like` has. */
export function number(b: Builder, value: number, like: Value): Value {
  if (like.dtype === 'float64')
    return b.constant(new Tensor('float64', [], Float64Array.of(value)), 'scalar');
  const scalar = b.scalar(value);
  return like.dtype === 'float32' || like.dtype === undefined ? scalar : b.op('CastLike', [scalar, like]);
}

/** An argument that may be computed, as a value of the dtype that `like` has. */
export const operandOf = (b: Builder, argument: number | Value, like: Value): Value =>
  isComputed(argument) ? argument : number(b, argument, like);

/** The shape as Reshape takes it, `-1` for the one symbolic axis; undefined when there are several. */
export function reshapeTarget(shape: Shape): number[] | undefined {
  const symbolic = shape.filter((dim) => typeof dim === 'string').length;
  if (symbolic > 1 || (symbolic === 1 && shape.includes(0))) return undefined;
  return shape.map((dim) => (typeof dim === 'string' ? -1 : dim));
}

/** `value` with the shape that `like` has. */
export function reshapeLike(b: Builder, value: Value, like: Value): Value {
  if (sameShape(shapeOf(value), shapeOf(like))) return value;
  const target = reshapeTarget(shapeOf(like));
  const made = b.op('Reshape', [value, target ? b.ints(target) : b.op('Shape', [like])]);
  made.shape = like.shape;
  return made;
}

/** `value` broadcast to the shape that `like` has. */
export function expandLike(b: Builder, value: Value, like: Value): Value {
  const shape = shapeOf(like);
  if (sameShape(shapeOf(value), shape)) return value;
  const fixed = shape.every((dim) => typeof dim === 'number');
  const made = b.op('Expand', [value, fixed ? b.ints(shape as number[]) : b.op('Shape', [like])]);
  made.shape = shape;
  return made;
}

/** Zeros of the shape and dtype of `like`. */
export function zerosLike(b: Builder, like: Value): Value {
  return expandLike(b, number(b, 0, like), like);
}

/**
 * Asserts that it can be told along which axes a node's operands were repeated.
 * @throws UserError when two of them have an axis of which nothing is known: either may be the one of length 1
 */
export function assertBroadcastIsKnown(node: Node): void {
  const shapes = node.inputs.flatMap((value) => (value ? [shapeOf(value)] : []));
  for (let back = 1; shapes.some((shape) => shape.length >= back); back++) {
    const dims = shapes.map((shape) => (shape.length >= back ? shape.at(-back)! : 1));
    if (dims.filter((dim) => dim !== 1).length > 1 && dims.some(isUnknown)) {
      throw new UserError(
        `${node.label}: no gradient where operands meet in lengths of which nothing is known`,
      );
    }
  }
}

/**
 * Undoes broadcasting: sums a gradient over the axes along which an operand of shape `like` was
 * repeated, and drops those it did not have.
 */
export function sumTo(b: Builder, gradient: Value, like: Value): Value {
  const from = shapeOf(gradient);
  const to = shapeOf(like);
  const extra = from.length - to.length;
  const axes = [...from.keys()].filter(
    (axis) => axis < extra || (to[axis - extra] === 1 && from[axis] !== 1),
  );
  if (axes.length === 0) return gradient;
  if (axes.every((axis) => axis < extra)) {
    return b.op('ReduceSum', [gradient, b.ints(axes)], { keepdims: 0 });
  }
  const sum = b.op('ReduceSum', [gradient, b.ints(axes)], { keepdims: 1 });
  return reshapeLike(b, sum, like);
}
