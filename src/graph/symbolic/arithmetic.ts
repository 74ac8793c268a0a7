import { divideDims, multiplyDims } from '../dim.ts';
import type { OpArguments, OpName } from '../schema/signature.ts';
import { type DataType, dataTypes, elementCount } from '../tensor.ts';
import type { Dim, Node } from '../types.ts';
import { made, rounded, shapes, source } from './broadcast.ts';
import { type Element, type Elements, elementLimit, isFloat, isPlain } from './elements.ts';

export type Operands = readonly (Elements | undefined)[];

/** The elements of each output; undefined where nothing is known of them. */
export type SymbolicRule<O extends OpName> = (
  node: Node,
  args: OpArguments[O],
  operands: Operands,
) => readonly (Elements | undefined)[] | undefined;

/** Element by element, with broadcasting. @param result the type of what comes out, where it is another */
const elementwise =
  (compute: (values: readonly Element[], dtype: DataType) => Element, result?: DataType, typedBy = 0) =>
  (_node: Node, _args: object, operands: Operands): readonly Elements[] | undefined => {
    if (operands.length === 0 || operands.some((operand) => !operand)) return undefined;
    const given = operands as readonly Elements[];
    const shape = given.reduce<number[] | undefined>((sum, { shape: s }) => sum && shapes(sum, s), []);
    if (!shape || elementCount(shape) > elementLimit) return undefined;
    const dtype = result ?? given[typedBy]!.dtype;
    const values = Array.from({ length: elementCount(shape) }, (_, place) =>
      rounded(
        compute(
          given.map((e) => e.values[source(e.shape, shape, place)]),
          given[0]!.dtype,
        ),
        dtype,
      ),
    );
    return made(shape, values, dtype);
  };

type Numeric = (a: number, b: number) => number;

/** An op on numbers; lengths that are symbols are only known where `symbolic` says what comes of them. */
const arithmetic = (
  compute: Numeric,
  symbolic: (a: Dim, b: Dim) => Element = () => undefined,
  result?: DataType,
) =>
  elementwise(
    (values) =>
      values.reduce((a, b) => {
        if (typeof a === 'number' && typeof b === 'number') return compute(a, b);
        return a === undefined || b === undefined ? undefined : symbolic(a, b);
      }),
    result,
  );

const unary = (compute: (x: number) => number, keepsSymbols = false) =>
  elementwise(([x]) => (typeof x === 'number' ? compute(x) : keepsSymbols ? x : undefined));

const isWhole = (x: Dim) => typeof x === 'string' || (Number.isInteger(x) && x >= 0);

export const times = (a: Dim, b: Dim): Element =>
  isWhole(a) && isWhole(b) ? multiplyDims([a, b]) : undefined;
const over = (a: Dim, b: Dim): Element => (isWhole(a) && isWhole(b) ? divideDims(a, b) : undefined);

/** Lengths are at least 1, so that a symbol differs from 0 and from what is negative. */
function equals(a: Dim, b: Dim): Element {
  if (a === b) return 1;
  const number = typeof a === 'number' ? a : b;
  return typeof number === 'number' && number <= 0 ? 0 : undefined;
}

/** -1 where the first is smaller. */
function compared(a: Dim, b: Dim): number | undefined {
  if (a === b) return 0;
  if (typeof a === 'string' && typeof b === 'number' && b <= 0) return 1;
  if (typeof b === 'string' && typeof a === 'number' && a <= 0) return -1;
  return undefined;
}

const comparison = (test: (sign: number) => boolean) =>
  arithmetic(
    (a, b) => Number(test(Math.sign(a - b))),
    (a, b) => {
      const sign = compared(a, b);
      return sign === undefined ? undefined : Number(test(sign));
    },
    'bool',
  );

const typeNumbered = (onnx: number): DataType | undefined =>
  (Object.keys(dataTypes) as (keyof typeof dataTypes)[]).find((name) => dataTypes[name].onnx === onnx);

const cast: SymbolicRule<'Cast'> = (_node, { to }, [x]) => {
  const dtype = typeNumbered(to);
  if (!x || !isPlain(dtype)) return undefined;
  const values = x.values.map((value) => {
    if (typeof value !== 'number') return dtype === 'bool' && value !== undefined ? 1 : value;
    if (dtype === 'bool') return Number(value !== 0);
    return rounded(isFloat(dtype) ? value : Math.trunc(value), dtype);
  });
  return made(x.shape, values, dtype);
};

/** Bounds are numbers where they are known; a length that is a symbol stays within those from 1 down to nothing. */
const clip: SymbolicRule<'Clip'> = (_node, { min, max }, [x, low, high]) => {
  const bound = (given: unknown, operand: Elements | undefined, none: number) =>
    given === undefined ? none : typeof given === 'number' ? given : operand?.values[0];
  const [least, most] = [
    bound(min, low, Number.NEGATIVE_INFINITY),
    bound(max, high, Number.POSITIVE_INFINITY),
  ];
  if (!x || typeof least !== 'number' || typeof most !== 'number') return undefined;
  const values = x.values.map((value) => {
    if (typeof value === 'number') return Math.min(Math.max(value, least), most);
    return least <= 1 && most === Number.POSITIVE_INFINITY ? value : undefined;
  });
  return made(x.shape, values, x.dtype);
};

export const plus = (a: Dim, b: Dim): Element => {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  return a === 0 ? b : b === 0 ? a : undefined;
};

/** Ops that work on each element, keyed by `Node.op`. */
export const arithmeticRules: { readonly [O in OpName]?: SymbolicRule<O> } = {
  Cast: cast,
  Clip: clip,
  Add: arithmetic((a, b) => a + b, plus),
  Sub: arithmetic(
    (a, b) => a - b,
    (a, b) => (b === 0 ? a : a === b ? 0 : undefined),
  ),
  Mul: arithmetic((a, b) => a * b, times),
  Div: elementwise(([a, b], dtype) => {
    if (a === undefined || b === undefined || b === 0) return undefined;
    if (typeof a === 'string' || typeof b === 'string') return over(a, b);
    return isFloat(dtype) ? a / b : Math.trunc(a / b);
  }),
  Mod: elementwise(([a, b]) => {
    if (typeof a === 'number' && typeof b === 'number' && b !== 0) return a - b * Math.floor(a / b);
    return a !== undefined && b !== undefined && over(a, b) !== undefined ? 0 : undefined;
  }),
  Pow: arithmetic((a, b) => a ** b),
  Max: arithmetic(Math.max, (a, b) => larger(a, b)),
  Min: arithmetic(Math.min, (a, b) => smaller(a, b)),
  Neg: unary((x) => -x),
  Abs: unary(Math.abs, true),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((x) => 1 / x),
  Log: unary(Math.log),
  Exp: unary(Math.exp),
  Floor: unary(Math.floor, true),
  Ceil: unary(Math.ceil, true),
  Not: unary((x) => Number(x === 0)),
  And: arithmetic((a, b) => Number(a !== 0 && b !== 0)),
  Or: arithmetic((a, b) => Number(a !== 0 || b !== 0)),
  Equal: arithmetic((a, b) => Number(a === b), equals, 'bool'),
  Less: comparison((sign) => sign < 0),
  LessOrEqual: comparison((sign) => sign <= 0),
  Greater: comparison((sign) => sign > 0),
  GreaterOrEqual: comparison((sign) => sign >= 0),
  Where: elementwise(
    ([test, a, b]) => {
      if (test === undefined) return a === b ? a : undefined;
      return test === 0 ? b : a;
    },
    undefined,
    1,
  ),
};

function larger(a: Dim, b: Dim): Element {
  const sign = compared(a, b);
  return sign === undefined ? undefined : sign < 0 ? b : a;
}

function smaller(a: Dim, b: Dim): Element {
  const sign = compared(a, b);
  return sign === undefined ? undefined : sign < 0 ? a : b;
}
