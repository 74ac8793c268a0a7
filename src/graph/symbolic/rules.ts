import { multiplyDims, normalizeAxis } from '../dim.ts';
import { permutationOf } from '../schema/axes.ts';
import { slicedIndices } from '../schema/ranges.ts';
import type { OpArguments, OpName } from '../schema/signature.ts';
import { elementCount } from '../tensor.ts';
import type { Dim, Node } from '../types.ts';
import { arithmeticRules, type Operands, plus, type SymbolicRule, times } from './arithmetic.ts';
import { made, shapes, source } from './broadcast.ts';
import { areNumbers, type Element, type Elements, elementLimit, isPlain } from './elements.ts';

export type { SymbolicRule } from './arithmetic.ts';

/** The same elements in another shape. */
const reshaped = (x: Elements | undefined, shape: readonly number[] | undefined) =>
  x && shape && elementCount(shape) === x.values.length ? made(shape, x.values, x.dtype) : undefined;

/** Along an axis those at some indices. */
function taken(x: Elements, axis: number, indices: readonly number[], inPlace: readonly number[]): Elements {
  const inner = elementCount(x.shape.slice(axis + 1));
  const length = x.shape[axis]!;
  const outer = elementCount(x.shape.slice(0, axis));
  const values: Element[] = [];
  for (let o = 0; o < outer; o++) {
    for (const index of indices) {
      const start = (o * length + index) * inner;
      values.push(...x.values.slice(start, start + inner));
    }
  }
  return {
    shape: [...x.shape.slice(0, axis), ...inPlace, ...x.shape.slice(axis + 1)],
    values,
    dtype: x.dtype,
  };
}

const gather: SymbolicRule<'Gather'> = (_node, args, [x, at]) => {
  if (!x || !at || !areNumbers(at)) return undefined;
  const axis = normalizeAxis(args.axis, x.shape.length);
  const indices = (at.values as number[]).map((i) => (i < 0 ? i + x.shape[axis]! : i));
  return [taken(x, axis, indices, at.shape)];
};

const numbers = (elements: Elements | undefined): number[] | undefined =>
  elements && areNumbers(elements) ? (elements.values as number[]) : undefined;

/** An argument: given as it is, or what is known of the input that holds it. */
const argument = (given: unknown, operand: Elements | undefined): number[] | undefined =>
  Array.isArray(given) ? (given as number[]) : given === undefined ? undefined : numbers(operand);

const slice: SymbolicRule<'Slice'> = (_node, args, [x, ...given]) => {
  const [starts, ends] = [argument(args.starts, given[0]), argument(args.ends, given[1])];
  const [axes, steps] = [argument(args.axes, given[2]), argument(args.steps, given[3])];
  if (!x || !starts || !ends || (args.axes && !axes) || (args.steps && !steps)) return undefined;
  const result = starts.reduce((sum, start, i) => {
    const axis = normalizeAxis(axes?.[i] ?? i, x.shape.length);
    const range = { axis, start, end: ends[i]!, step: steps?.[i] ?? 1 };
    const indices = slicedIndices(sum.shape[axis]!, range);
    return taken(sum, axis, indices, [indices.length]);
  }, x);
  return [result];
};

const concat: SymbolicRule<'Concat'> = (_node, args, operands) => {
  if (operands.some((operand) => !operand)) return undefined;
  const parts = operands as readonly Elements[];
  const axis = normalizeAxis(args.axis, parts[0]!.shape.length);
  const outer = elementCount(parts[0]!.shape.slice(0, axis));
  const values: Element[] = [];
  for (let o = 0; o < outer; o++) {
    for (const part of parts) {
      const run = part.values.length / outer;
      values.push(...part.values.slice(o * run, (o + 1) * run));
    }
  }
  const length = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
  return made(parts[0]!.shape.with(axis, length), values, parts[0]!.dtype);
};

const unsqueeze: SymbolicRule<'Unsqueeze'> = (_node, args, [x, given]) => {
  const axes = argument(args.axes, given);
  if (!x || !axes) return undefined;
  const rank = x.shape.length + axes.length;
  const added = axes.map((axis) => normalizeAxis(axis, rank));
  const rest = [...x.shape];
  return reshaped(
    x,
    Array.from({ length: rank }, (_, i) => (added.includes(i) ? 1 : rest.shift()!)),
  );
};

const squeeze: SymbolicRule<'Squeeze'> = (_node, args, [x, given]) => {
  const axes = argument(args.axes, given);
  if (!x || (args.axes !== undefined && !axes)) return undefined;
  const gone = axes?.map((axis) => normalizeAxis(axis, x.shape.length));
  return reshaped(
    x,
    x.shape.filter((dim, i) => !(gone ? gone.includes(i) : dim === 1)),
  );
};

const reshape: SymbolicRule<'Reshape'> = (_node, args, [x, given]) => {
  const target = argument(args.shape, given);
  if (!x || !target) return undefined;
  const dims = target.map((dim, i) => (dim === 0 && args.allowzero === 0 ? x.shape[i]! : dim));
  const open = dims.indexOf(-1);
  const rest = elementCount(dims.filter((_, i) => i !== open));
  return reshaped(x, open < 0 ? dims : dims.with(open, x.values.length / rest));
};

const expanded = (x: Elements | undefined, target: readonly number[] | undefined) => {
  const shape = x && target && shapes(x.shape, target);
  if (!shape || elementCount(shape) > elementLimit) return undefined;
  const values = Array.from({ length: elementCount(shape) }, (_, i) => x.values[source(x.shape, shape, i)]);
  return made(shape, values, x.dtype);
};

const transpose: SymbolicRule<'Transpose'> = (_node, args, [x]) => {
  if (!x) return undefined;
  const perm = permutationOf(args, x.shape.length);
  const shape = perm.map((axis) => x.shape[axis]!);
  const strides = x.shape.map((_, axis) => elementCount(x.shape.slice(axis + 1)));
  const values = x.values.map((_, place) => {
    let rest = place;
    let index = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index += (rest % shape[axis]!) * strides[perm[axis]!]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    return x.values[index];
  });
  return made(shape, values, x.dtype);
};

const split: SymbolicRule<'Split'> = (node, args, [x, given]) => {
  if (!x) return undefined;
  const axis = normalizeAxis(args.axis, x.shape.length);
  const length = x.shape[axis]!;
  const part = Math.ceil(length / node.outputs.length);
  const sizes =
    args.split === undefined
      ? node.outputs.map((_, i) => Math.min(part, length - i * part))
      : argument(args.split, given);
  if (!sizes) return undefined;
  let start = 0;
  return sizes.map((size) => {
    const indices = Array.from({ length: size }, (_, i) => start + i);
    start += size;
    return taken(x, axis, indices, [size]);
  });
};

/** Over all elements of a vector: what shape arithmetic reduces. */
const reduction =
  (symbolic: (a: Dim, b: Dim) => Element, start: number) =>
  (_node: Node, args: OpArguments['ReduceProd'], [x, given]: Operands) => {
    const axes = argument(args.axes, given);
    if (x?.shape.length !== 1 || (args.axes !== undefined && !axes)) return undefined;
    const value = x.values.reduce<Element>(
      (sum, value) => (sum === undefined || value === undefined ? undefined : symbolic(sum, value)),
      start,
    );
    return made(args.keepdims === 1 ? [1] : [], [value], x.dtype);
  };

/** What is known of small tensors before anything runs, keyed by `Node.op`. */
export const symbolicRules: { readonly [O in OpName]?: SymbolicRule<O> } = {
  ...arithmeticRules,
  Shape: (node, { start, end }) => {
    const dims = node.input(0).shape?.slice(start, end);
    return (
      dims &&
      made(
        [dims.length],
        dims.map((dim) => (String(dim).includes('?') ? undefined : dim)),
        'int64',
      )
    );
  },
  Size: (node) => {
    const { shape } = node.input(0);
    return shape && made([], [multiplyDims(shape)], 'int64');
  },
  Identity: (_node, _args, [x]) => x && [x],
  Gather: gather,
  Slice: slice,
  Concat: concat,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Reshape: reshape,
  Flatten: (_node, { axis }, [x]) => {
    const at = x && (axis < 0 ? axis + x.shape.length : axis);
    return x && reshaped(x, [elementCount(x.shape.slice(0, at)), elementCount(x.shape.slice(at))]);
  },
  Expand: (_node, args, [x, given]) => expanded(x, argument(args.shape, given)),
  Transpose: transpose,
  Split: split,
  ConstantOfShape: (_node, { shape: given, value }, [operand]) => {
    const shape = argument(given, operand);
    if (!shape || elementCount(shape) > elementLimit) return undefined;
    const [fill, dtype] = value ? [Number(value.data[0]), value.dtype] : [0, 'float32' as const];
    return isPlain(dtype) ? made(shape, Array(elementCount(shape)).fill(fill), dtype) : undefined;
  },
  Range: (_node, _args, operands) => {
    const [start, limit, delta] = operands.map((operand) => numbers(operand)?.[0]);
    if (start === undefined || limit === undefined || !delta) return undefined;
    const length = Math.max(0, Math.ceil((limit - start) / delta));
    if (length > elementLimit) return undefined;
    const values = Array.from({ length }, (_, i) => start + i * delta);
    return made([length], values, operands[0]!.dtype);
  },
  ReduceProd: reduction(times, 1),
  ReduceSum: reduction(plus, 0),
};
