import { broadcastShapes, divideDims, isUnknown, multiplyDims, normalizeAxis } from '../dim.ts';
import { isComputed } from '../schema/arguments.ts';
import { axesOf, flattenedAt, permutationOf, squeezedAxes } from '../schema/axes.ts';
import { paddingOf, rangesOf, slicedLength } from '../schema/ranges.ts';
import { resizedShape } from '../schema/resize.ts';
import type { OpArguments } from '../schema/signature.ts';
import type { Dim, Node, Shape } from '../types.ts';
import { dtypeOf, type Inferred, type ShapeRules, sameAsInput, shaped, shapeOf, symbol } from './rule.ts';

/** Shapes a node from its first input's shape, where that is known. */
const fromShape = (node: Node, rule: (shape: Shape) => Shape | undefined) => {
  const shape = shapeOf(node, 0);
  return shaped(node, shape && rule(shape));
};

const reshape = (node: Node, { shape: target, allowzero }: OpArguments['Reshape']) => {
  if (isComputed(target)) return shaped(node, undefined);
  const input = shapeOf(node, 0);
  const dims: Dim[] = target.map((dim, i) => (dim === 0 && allowzero === 0 ? (input?.[i] ?? '?') : dim));
  const open = dims.indexOf(-1);
  if (!input) return shaped(node, open < 0 ? dims : undefined);
  const total = multiplyDims(input);
  if (open < 0) {
    const made = multiplyDims(dims);
    if (typeof total === 'number' && typeof made === 'number' && total !== made) {
      throw new Error(`can't reshape ${total} elements to [${dims}]`);
    }
    return shaped(node, dims);
  }
  return shaped(node, dims.with(open, openLength(node, input, dims, open)));
};

/** What is left for the axis that a Reshape leaves open. What it copies can be left out on both sides. */
function openLength(node: Node, input: Shape, dims: readonly Dim[], open: number): Dim {
  const copied = (i: number) => i < open && dims[i] === input[i];
  const before = multiplyDims(input.filter((_, i) => !copied(i)));
  const after = multiplyDims(dims.filter((_, i) => i !== open && !copied(i)));
  const rest = divideDims(before, after);
  if (rest !== undefined) return rest;
  if (isUnknown(before) || isUnknown(after)) return symbol(node, open);
  throw new Error(`can't reshape [${input}] to [${dims.with(open, -1)}]`);
}

const split = (node: Node, { axis: given, split: parts }: OpArguments['Split']): readonly Inferred[] => {
  const shape = shapeOf(node, 0);
  const dtype = dtypeOf(node, 0);
  if (!shape || isComputed(parts)) return node.outputs.map(() => ({ dtype, shape: undefined }));
  const axis = normalizeAxis(given, shape.length);
  const length = shape[axis]!;
  const sizes = parts ?? equalParts(length, node.outputs.length);
  if (typeof length === 'number' && sizes.reduce((a, b) => a + b, 0) !== length) {
    throw new Error(`parts [${sizes}] don't add up to ${length}`);
  }
  return sizes.map((size) => ({ dtype, shape: shape.with(axis, size) }));
};

function equalParts(length: Dim, count: number): number[] {
  if (typeof length !== 'number') throw new Error(`can't split a symbolic axis ${length}`);
  const part = Math.ceil(length / count);
  return Array.from({ length: count }, (_, i) => Math.min(part, length - i * part));
}

const concat = (node: Node, args: OpArguments['Concat']) => {
  const shapes = node.inputs.map((value) => value?.shape);
  if (shapes.some((shape) => !shape)) return shaped(node, undefined);
  const [first, ...rest] = shapes as Shape[];
  const axis = normalizeAxis(args.axis, first!.length);
  let total: Dim = first![axis]!;
  for (const shape of rest) {
    const agrees = shape.every(
      (dim, i) => i === axis || dim === first![i] || typeof dim === 'string' || typeof first![i] === 'string',
    );
    if (shape.length !== first!.length || !agrees) throw new Error(`can't join [${shape}] to [${first}]`);
    const next: Dim = shape[axis]!;
    total = typeof total === 'number' && typeof next === 'number' ? total + next : symbol(node, axis);
  }
  return shaped(node, first!.with(axis, total));
};

const slice = (node: Node, args: OpArguments['Slice']) =>
  fromShape(node, (shape) => {
    const result = [...shape];
    const ranges = rangesOf(args, shape.length);
    ranges?.forEach((range) => {
      const length = shape[range.axis]!;
      result[range.axis] =
        typeof length === 'number' ? slicedLength(length, range) : symbol(node, range.axis);
    });
    return ranges && result;
  });

const gather = (node: Node, args: OpArguments['Gather']) =>
  fromShape(node, (data) => {
    const indices = shapeOf(node, 1);
    const axis = normalizeAxis(args.axis, data.length);
    return indices && [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)];
  });

const unsqueeze = (node: Node, { axes: given }: OpArguments['Unsqueeze']) =>
  fromShape(node, (shape) => {
    if (isComputed(given)) return undefined;
    const rank = shape.length + given.length;
    const added = axesOf(given, rank)!;
    const rest = [...shape];
    return Array.from({ length: rank }, (_, i) => (added.includes(i) ? 1 : rest.shift()!));
  });

const squeeze = (node: Node, args: OpArguments['Squeeze']) =>
  fromShape(node, (shape) => {
    const gone = squeezedAxes(args, shape);
    return gone && shape.filter((_, i) => !gone.includes(i));
  });

const pad = (node: Node, args: OpArguments['Pad']) =>
  fromShape(node, (shape) => {
    const padding = paddingOf(args, shape.length);
    const result = [...shape];
    padding?.forEach(({ axis, before, after }) => {
      const dim = shape[axis]!;
      if (before + after === 0) return;
      result[axis] = typeof dim === 'number' ? dim + before + after : symbol(node, axis);
    });
    return padding && result;
  });

const resize = (node: Node, args: OpArguments['Resize']) => {
  const { axes, sizes } = args;
  if (!axes && sizes && !isComputed(sizes) && sizes.length) return shaped(node, sizes);
  return fromShape(node, (shape) => resizedShape(shape, args));
};

/** A scale of 1 leaves a length as it is, known or not. */
const scaled = (shape: Shape, scales: readonly number[]): Shape =>
  shape.map((dim, i) =>
    typeof dim === 'number' ? Math.floor(dim * scales[i]!) : scales[i] === 1 ? dim : '?',
  );

const topK = (node: Node, { axis, k }: OpArguments['TopK']): readonly Inferred[] => {
  const shape = shapeOf(node, 0);
  const kept = shape && !isComputed(k) ? shape.with(normalizeAxis(axis, shape.length), k) : undefined;
  return [
    { dtype: dtypeOf(node, 0), shape: kept },
    { dtype: 'int64', shape: kept },
  ];
};

/** Ops that move elements about. */
export const movementShapes = {
  Reshape: reshape,
  Transpose: (node, args) =>
    fromShape(node, (shape) => {
      const perm = permutationOf(args, shape.length);
      if (perm.length !== shape.length) throw new Error(`perm [${perm}] does not fit rank ${shape.length}`);
      return perm.map((axis) => shape[axis]!);
    }),
  Split: split,
  Concat: concat,
  Slice: slice,
  Gather: gather,
  GatherND: (node, { batch_dims }) =>
    fromShape(node, (data) => {
      const indices = shapeOf(node, 1);
      const depth = indices?.at(-1);
      if (typeof depth !== 'number') return undefined;
      return [...indices!.slice(0, -1), ...data.slice(batch_dims + depth)];
    }),
  GatherElements: (node) => shaped(node, shapeOf(node, 1)),
  ScatterND: sameAsInput,
  ScatterElements: sameAsInput,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Expand: (node, { shape: target }) =>
    fromShape(node, (shape) => (isComputed(target) ? undefined : broadcastShapes(shape, target))),
  Tile: (node, { repeats }) =>
    fromShape(node, (shape) =>
      isComputed(repeats) ? undefined : shape.map((dim, i) => multiplyDims([dim, repeats[i]!])),
    ),
  Pad: pad,
  Flatten: (node, args) =>
    fromShape(node, (shape) => {
      const axis = flattenedAt(args, shape.length);
      return [multiplyDims(shape.slice(0, axis)), multiplyDims(shape.slice(axis))];
    }),
  Resize: resize,
  Upsample: (node, { scales }) =>
    fromShape(node, (shape) => (isComputed(scales) ? undefined : scaled(shape, scales))),
  TopK: topK,
} satisfies ShapeRules;
