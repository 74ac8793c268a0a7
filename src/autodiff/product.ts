import { float } from '../graph/attribute.ts';
import type { Builder } from '../graph/builder.ts';
import type { Shape, Value } from '../graph/graph.ts';
import type { OpArguments } from '../graph/schema/signature.ts';
import {
  type GradientContext,
  type GradientRule,
  type GradientRules,
  number,
  reshapeLike,
  shapeOf,
  single,
  sumTo,
} from './rule.ts';

interface Factor {
  value: Value;
  transposed: boolean;
}

const of = (value: Value, transposed = false): Factor => ({ value, transposed });

/** `alpha * op(a) op(b)`, as MatMul where that is all there is to say. */
export function product(b: Builder, left: Factor, right: Factor, alpha = 1): Value {
  const operands = [left.value, right.value];
  if (!left.transposed && !right.transposed && alpha === 1) return b.op('MatMul', operands);
  return b.op('com.microsoft.FusedMatMul', operands, {
    transA: Number(left.transposed),
    transB: Number(right.transposed),
    alpha: float(alpha),
  });
}

/** Rows of a value of rank 3 and more laid under one another: `[B, T, C]` as `[B*T, C]`. */
const asRows = (b: Builder, value: Value, columns: number): Value =>
  shapeOf(value).length === 2 ? value : b.op('Reshape', [value, b.ints([-1, columns])]);

/**
 * Gradients of `y = alpha op(a) op(b)`. A matrix shared by the whole batch (a weight) gets its
 * gradient from one product over all rows rather than one per batch element and a sum.
 */
function productGradients(
  { builder: b, wants }: GradientContext,
  left: Factor,
  right: Factor,
  g: Value,
  alpha: number,
): [Value | undefined, Value | undefined] {
  const shared = shapeOf(right.value).length === 2 && shapeOf(left.value).length > 2 && !left.transposed;
  const columns = shapeOf(left.value).at(-1);
  const outColumns = shapeOf(g).at(-1);
  let dLeft: Value | undefined;
  let dRight: Value | undefined;
  if (wants(0)) {
    const rest = of(right.value, !right.transposed);
    dLeft = left.transposed
      ? product(b, of(right.value, right.transposed), of(g, true), alpha)
      : product(b, of(g), rest, alpha);
    dLeft = sumTo(b, dLeft, left.value);
  }
  if (wants(1)) {
    const flat = shared && typeof columns === 'number' && typeof outColumns === 'number';
    const a = flat ? asRows(b, left.value, columns) : left.value;
    const go = flat ? asRows(b, g, outColumns) : g;
    dRight = right.transposed
      ? product(b, of(go, true), of(a, left.transposed), alpha)
      : product(b, of(a, !left.transposed), of(go), alpha);
    dRight = sumTo(b, dRight, right.value);
  }
  return [dLeft, dRight];
}

/** A vector operand seen as the matrix it stands for: a row on the left, a column on the right. */
function promoted(b: Builder, value: Value, side: 'left' | 'right'): Value {
  if (shapeOf(value).length !== 1) return value;
  return b.op('Unsqueeze', [value, b.ints([side === 'left' ? 0 : 1])]);
}

type Factors = Pick<OpArguments['com.microsoft.FusedMatMul'], 'transA' | 'transB' | 'alpha'>;

const matMul = <A>(factors: (args: A) => Factors): GradientRule<A> =>
  single((node, args, g, context) => {
    const { builder: b } = context;
    const { transA, transB, alpha } = factors(args);
    const [x, y] = [node.input(0), node.input(1)];
    const vector = [shapeOf(x).length === 1, shapeOf(y).length === 1];
    const left = of(promoted(b, x, 'left'), !vector[0] && transA === 1);
    const right = of(promoted(b, y, 'right'), !vector[1] && transB === 1);
    let gradient = g;
    if (vector[1]) gradient = b.op('Unsqueeze', [gradient, b.ints([-1])]);
    if (vector[0]) gradient = b.op('Unsqueeze', [gradient, b.ints([-2])]);
    const [dx, dy] = productGradients(context, left, right, gradient, alpha);
    return [dx && reshapeLike(b, dx, x), dy && reshapeLike(b, dy, y)];
  });

const scaled = (b: Builder, value: Value, factor: number): Value =>
  factor === 1 ? value : b.op('Mul', [value, number(b, factor, value)]);

const rank = (shape: Shape) => shape.length;

/** Matrix products. */
export const products = {
  MatMul: matMul<object>(() => ({ transA: 0, transB: 0, alpha: 1 })),
  'com.microsoft.FusedMatMul': matMul<Factors>((args) => args),
  Gemm: single((node, { alpha, beta, transA, transB }, g, context) => {
    const { builder: b, wants } = context;
    const left = of(node.input(0), transA === 1);
    const right = of(node.input(1), transB === 1);
    const bias = node.inputs[2];
    const [dx, dy] = productGradients(context, left, right, g, alpha);
    if (!bias || !wants(2)) return [dx, dy];
    const dBias = rank(shapeOf(bias)) === 0 ? b.op('ReduceSum', [g], { keepdims: 0 }) : sumTo(b, g, bias);
    return [dx, dy, scaled(b, dBias, beta)];
  }),
} satisfies GradientRules;
