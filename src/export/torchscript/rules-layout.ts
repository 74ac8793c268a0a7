import { normalizeAxis } from '../../graph/dim.ts';
import type { Node, Value } from '../../graph/graph.ts';
import { axesOf, flattenedAt, permutationOf, squeezedAxes } from '../../graph/schema/axes.ts';
import { type Range, slicedIndices } from '../../graph/schema/ranges.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { float, int, intList, ints, type Operand, tensors } from './program.ts';

/** Axis `axis` of a tensor: a number where it is known, else read at run time. */
export const axisLength = (value: Value, axis: number, lower: Lowering): Operand => {
  const length = value.shape?.[axis];
  return typeof length === 'number'
    ? int(length)
    : lower.call('aten::size.int', [lower.tensor(value), int(axis)], 'int');
};

/** One int, or a list of them, as the value's rank asks. */
const shapeOperand = (items: readonly Operand[], rank: number | undefined): Operand =>
  rank === 0 ? items[0]! : intList(items);

const shape: LoweringRule<OpArguments['Shape']> = (node, { start, end }, lower) => {
  const input = node.input(0);
  const axes = Array.from({ length: lower.rank(node, input) }, (_, axis) => axis);
  const wanted = axes.slice(start, end);
  return intList(wanted.map((axis) => axisLength(input, axis, lower)));
};

/**
 * The target shape: zeros copy an axis, known lengths are written out, and a single unknown one
 * becomes -1, so that the batch needs no arithmetic.
 */
const reshape: LoweringRule<OpArguments['Reshape']> = (node, args, lower) => {
  const input = node.input(0);
  const known = node.output().shape;
  const copies = args.allowzero === 0;
  const items = lower.ints(node, args.shape).map((item, i) => {
    const length = known?.[i];
    if (typeof length === 'number') return int(length);
    return copies && item.kind === 'int' && item.value === 0 ? axisLength(input, i, lower) : item;
  });
  const open = items.flatMap((item, i) => (item.kind === 'int' && item.value >= 0 ? [] : [i]));
  const target = open.length === 1 ? items.with(open[0]!, int(-1)) : items;
  return lower.call('aten::reshape', [lower.tensor(input), intList(target)]);
};

const transpose: LoweringRule<OpArguments['Transpose']> = (node, args, lower) => {
  const perm = permutationOf(args, lower.rank(node, node.input(0)));
  const moved = perm.flatMap((from, to) => (from === to ? [] : [to]));
  const x = lower.tensor(node.input(0));
  if (moved.length === 0) return x;
  if (moved.length === 2) return lower.call('aten::transpose.int', [x, int(moved[0]!), int(moved[1]!)]);
  return lower.call('aten::permute', [x, ints(perm)]);
};

const concat: LoweringRule<OpArguments['Concat']> = (node, { axis }, lower) => {
  const inputs = node.inputs.map((_, i) => node.input(i));
  if (inputs.some((input) => lower.isShape(input))) {
    return intList(inputs.flatMap((input) => lower.ints(node, input)));
  }
  return lower.call('aten::cat', [tensors(inputs.map((input) => lower.tensor(input))), int(axis)]);
};

const split: LoweringRule<OpArguments['Split']> = (node, args, lower) => {
  const input = node.input(0);
  const axis = normalizeAxis(args.axis, lower.rank(node, input));
  const sizes = node.outputs.map((output) => output?.shape?.[axis]);
  if (sizes.some((size) => typeof size !== 'number')) {
    throw lower.unsupported(node, 'the lengths of its parts are not known');
  }
  const operands = [lower.tensor(input), ints(sizes as number[]), int(axis)];
  return lower.callUnpacked('aten::split_with_sizes', operands, sizes.length);
};

/** Beyond any axis, yet exact as a JavaScript number. */
const farthest = 2 ** 53 - 1;

const slice: LoweringRule<OpArguments['Slice']> = (node, args, lower) => {
  const input = node.input(0);
  const starts = lower.ints(node, args.starts);
  const ends = lower.ints(node, args.ends);
  const axes = args.axes ? lower.constantInts(node, args.axes) : starts.map((_, i) => i);
  const steps = args.steps ? lower.constantInts(node, args.steps) : axes.map(() => 1);
  if (lower.isShape(input)) {
    const [start, end] = [starts[0]!, ends[0]!];
    if (start.kind !== 'int' || end.kind !== 'int' || steps[0] !== 1) {
      throw lower.unsupported(node, 'a shape is cut at places known only at run time');
    }
    return intList(lower.ints(node, input).slice(start.value, end.value));
  }
  return axes.reduce((x, axis, i) => {
    const step = steps[i]!;
    if (step < 1) return reversedSlice(node, x, axis, starts[i]!, ends[i]!, step, lower);
    return lower.call('aten::slice.Tensor', [
      x,
      int(axis),
      clamped(starts[i]!),
      clamped(ends[i]!),
      int(step),
    ]);
  }, lower.tensor(input));
};

const clamped = (bound: Operand): Operand =>
  bound.kind === 'int' ? int(Math.max(-farthest, Math.min(farthest, bound.value))) : bound;

/** ATen slices only forwards; backwards is a selection of indices. */
function reversedSlice(
  node: Node,
  x: Operand,
  axis: number,
  start: Operand,
  end: Operand,
  step: number,
  lower: Lowering,
): Operand {
  const length = node.input(0).shape?.at(axis);
  if (typeof length !== 'number' || start.kind !== 'int' || end.kind !== 'int') {
    throw lower.unsupported(node, 'a backward slice of an unknown length is not lowered');
  }
  const range: Range = { axis, start: start.value, end: end.value, step };
  const indices = Tensor.int64(slicedIndices(length, range));
  const picked = lower.weight(`${node.output().name}_indices_${axis}`, indices);
  return lower.call('aten::index_select', [x, int(axis), picked]);
}

const gather: LoweringRule<OpArguments['Gather']> = (node, args, lower) => {
  const [data, indices] = [node.input(0), node.input(1)];
  if (lower.isShape(data)) {
    const items = lower.ints(node, data);
    const picked = lower.constantInts(node, indices).map((i) => items.at(i)!);
    return shapeOperand(picked, indices.shape?.length);
  }
  const axis = normalizeAxis(args.axis, lower.rank(node, data));
  const rank = lower.rank(node, indices);
  if (rank === 0 && (indices.tensor || lower.isShape(indices))) {
    return lower.call('aten::select.int', [lower.tensor(data), int(axis), lower.ints(node, indices)[0]!]);
  }
  const flat = rank === 1 ? wrapped(node, axis, lower) : flattened(wrapped(node, axis, lower), lower);
  const picked = lower.call('aten::index_select', [lower.tensor(data), int(axis), flat]);
  if (rank === 1) return picked;
  const lengths = data.shape!.map((_, i) => axisLength(data, i, lower));
  const inner = indices.shape!.map((_, i) => axisLength(indices, i, lower));
  const target = intList([...lengths.slice(0, axis), ...inner, ...lengths.slice(axis + 1)]);
  return lower.call('aten::reshape', [picked, target]);
};

const flattened = (x: Operand, lower: Lowering): Operand => lower.call('aten::reshape', [x, ints([-1])]);

/** Indices of a Gather without negative ones, which `index_select` does not take. */
function wrapped(node: Node, axis: number, lower: Lowering): Operand {
  const [data, indices] = [node.input(0), node.input(1)];
  const length = data.shape?.at(axis);
  const remainder = () =>
    lower.call('aten::remainder.Scalar', [lower.tensor(indices), axisLength(data, axis, lower)]);
  if (indices.tensor) {
    const values = indices.tensor.integers;
    if (values.every((i) => i >= 0)) return lower.tensor(indices);
    if (typeof length !== 'number') return remainder();
    const positive = values.map((i) => (i < 0 ? i + length : i));
    return lower.weight(`${indices.name}_of_${length}`, Tensor.int64(positive, indices.tensor.shape));
  }
  return remainder();
}

const gatherElements: LoweringRule<OpArguments['GatherElements']> = (node, { axis }, lower) =>
  lower.call('aten::gather', [lower.tensor(node.input(0)), int(axis), lower.tensor(node.input(1))]);

const unsqueeze: LoweringRule<OpArguments['Unsqueeze']> = (node, args, lower) => {
  const input = node.input(0);
  if (lower.isShape(input)) return intList(lower.ints(node, input));
  const given = lower.constantInts(node, args.axes);
  return axesOf(given, lower.rank(node, input) + given.length)!
    .sort((a, b) => a - b)
    .reduce((x, axis) => lower.call('aten::unsqueeze', [x, int(axis)]), lower.tensor(input));
};

const squeeze: LoweringRule<OpArguments['Squeeze']> = (node, args, lower) => {
  const input = node.input(0);
  if (lower.isShape(input)) return shapeOperand(lower.ints(node, input), 0);
  lower.rank(node, input);
  const axes = squeezedAxes(args, input.shape!);
  if (!axes) throw lower.unsupported(node, 'its axes are computed at run time, where a constant is needed');
  return axes
    .sort((a, b) => b - a)
    .reduce((x, axis) => lower.call('aten::squeeze.dim', [x, int(axis)]), lower.tensor(input));
};

/** ONNX broadcasts both ways: an axis that the target gives as 1 stays as it is, which ATen writes as -1. */
const expand: LoweringRule<OpArguments['Expand']> = (node, args, lower) => {
  const input = node.input(0);
  const rank = lower.rank(node, input);
  const target = lower.ints(node, args.shape);
  const missing = Math.max(0, rank - target.length);
  const items = [...Array<Operand>(missing).fill(int(-1)), ...target].map((item, i, all) => {
    const own = input.shape![i - all.length + rank];
    if (own === undefined) return item;
    const stays = (typeof own === 'number' && own !== 1) || (item.kind === 'int' && item.value === 1);
    return stays ? int(-1) : item;
  });
  return lower.call('aten::expand', [lower.tensor(input), intList(items)]);
};

const tile: LoweringRule<OpArguments['Tile']> = (node, { repeats }, lower) =>
  lower.call('aten::repeat', [lower.tensor(node.input(0)), intList(lower.ints(node, repeats))]);

/** To two axes: everything before `axis`, and the rest. */
const flatten: LoweringRule<OpArguments['Flatten']> = (node, args, lower) => {
  const rank = lower.rank(node, node.input(0));
  const axis = flattenedAt(args, rank);
  const x = lower.tensor(node.input(0));
  const edge = axis === 0 ? [1, -1] : axis === rank ? [-1, 1] : undefined;
  if (edge) return lower.call('aten::reshape', [x, ints(edge)]);
  const tail = lower.call('aten::flatten.using_ints', [x, int(axis), int(-1)]);
  return lower.call('aten::flatten.using_ints', [tail, int(0), int(axis - 1)]);
};

const constantOfShape: LoweringRule<OpArguments['ConstantOfShape']> = (node, args, lower) => {
  const tensor = args.value ?? Tensor.float32([1], [0]);
  if (tensor.dtype !== 'float32' && tensor.dtype !== 'int64') {
    throw lower.unsupported(node, `filling with ${tensor.dtype} is not lowered`);
  }
  const fill = tensor.dtype === 'float32' ? float(tensor.floats[0]!) : int(tensor.integers[0]!);
  return lower.call('aten::full', [intList(lower.ints(node, args.shape)), fill]);
};

/** The numbers from one to another. */
const range: LoweringRule<object> = (node, _args, lower) => {
  const numbers = [0, 1, 2].map((i) => lower.ints(node, node.input(i))[0]!);
  return lower.call('aten::arange.start_step', numbers);
};

/** Ops that move elements about, and arithmetic on shapes. */
export const layoutRules = {
  Shape: shape,
  Reshape: reshape,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  GatherElements: gatherElements,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Expand: expand,
  Tile: tile,
  Flatten: flatten,
  ConstantOfShape: constantOfShape,
  Range: range,
} satisfies LoweringRules;
