import { isComputed } from '../schema/arguments.ts';
import { slicedLength } from '../schema/ranges.ts';
import type { OpArguments } from '../schema/signature.ts';
import { dtypeOf, type Inferred, type ShapeRules, shapeOf } from './rule.ts';

const constant = (args: OpArguments['Constant']): Inferred => {
  if (args.value) return { dtype: args.value.dtype, shape: args.value.shape };
  if (args.value_float !== undefined) return { dtype: 'float32', shape: [] };
  if (args.value_int !== undefined) return { dtype: 'int64', shape: [] };
  if (args.value_floats) return { dtype: 'float32', shape: [args.value_floats.length] };
  if (args.value_ints) return { dtype: 'int64', shape: [args.value_ints.length] };
  return { dtype: undefined, shape: undefined };
};

/** Ops that make numbers out of arguments and shapes, and those that change how numbers are stored. */
export const creationShapes = {
  Constant: (_node, args) => [constant(args)],
  ConstantOfShape: (_node, { shape, value }) => [
    { dtype: value ? value.dtype : 'float32', shape: isComputed(shape) ? undefined : shape },
  ],
  Shape: (node, { start, end }) => {
    const rank = shapeOf(node, 0)?.length;
    if (rank === undefined) return [{ dtype: 'int64', shape: undefined }];
    return [{ dtype: 'int64', shape: [slicedLength(rank, { axis: 0, start, end: end ?? rank, step: 1 })] }];
  },
  Size: () => [{ dtype: 'int64', shape: [] }],
  OneHot: (node, { depth, axis: given }) => {
    const indices = shapeOf(node, 0);
    if (!indices || isComputed(depth)) return [{ dtype: dtypeOf(node, 2), shape: undefined }];
    const axis = given < 0 ? given + indices.length + 1 : given;
    return [{ dtype: dtypeOf(node, 2), shape: [...indices.slice(0, axis), depth, ...indices.slice(axis)] }];
  },
  QuantizeLinear: (node) => [{ dtype: dtypeOf(node, 2) ?? 'uint8', shape: shapeOf(node, 0) }],
  DequantizeLinear: (node) => [{ dtype: dtypeOf(node, 1), shape: shapeOf(node, 0) }],
  DynamicQuantizeLinear: (node) => [
    { dtype: 'uint8', shape: shapeOf(node, 0) },
    { dtype: 'float32', shape: [] },
    { dtype: 'uint8', shape: [] },
  ],
} satisfies ShapeRules;
