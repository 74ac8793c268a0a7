import { normalizeAxis } from '../../graph/dim.ts';
import { paddingOf, rangesOf, slicedIndices } from '../../graph/schema/ranges.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import type { FileTensor } from './program.ts';

/** Everything that only says the axes anew. */
const reshape: LoweringRule<object> = (node, _args, lower) =>
  lower.reshape(lower.tensor(node.input(0)), node.output().staticShape);

const transpose: LoweringRule<OpArguments['Transpose']> = (node, { perm }, lower) => {
  const x = lower.tensor(node.input(0));
  return lower.transpose(x, perm ?? x.shape.map((_, i) => x.shape.length - 1 - i));
};

const concat: LoweringRule<OpArguments['Concat']> = (node, args, lower) => {
  const { staticShape } = node.output();
  const axis = normalizeAxis(args.axis, staticShape.length);
  const parts = node.inputs.map((_, i) => lower.tensor(node.input(i)));
  return lower.call('CONCATENATION', parts, staticShape, { axis });
};

/** What lies between two places of one axis. */
function cut(x: FileTensor, axis: number, from: number, length: number, lower: Lowering): FileTensor {
  const begin = lower.integers(x.shape.map((_, i) => (i === axis ? from : 0)));
  const shape = x.shape.map((whole, i) => (i === axis ? length : whole));
  return lower.call('SLICE', [x, begin, lower.integers(shape)], shape);
}

/** XNNPACK takes SPLIT into at most four equal parts, and any SLICE. */
const split: LoweringRule<OpArguments['Split']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const axis = normalizeAxis(args.axis, x.shape.length);
  const shapes = node.outputs.map((_, i) => node.output(i).staticShape);
  const sizes = shapes.map((shape) => shape[axis]!);
  if (sizes.length <= 4 && sizes.every((size) => size === sizes[0]))
    return lower.callSeveral('SPLIT', [lower.integers([axis], []), x], shapes, { splits: sizes.length });
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
  return sizes.map((size, i) => cut(x, axis, starts[i]!, size, lower));
};

function picked(x: FileTensor, axis: number, places: readonly number[], lower: Lowering): FileTensor {
  const shape = x.shape.map((whole, i) => (i === axis ? places.length : whole));
  return lower.call('GATHER', [x, lower.integers(places)], shape, { axis });
}

const slice: LoweringRule<OpArguments['Slice']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const ranges = rangesOf(args, x.shape.length);
  if (!ranges) throw lower.unsupported(node, 'its places are computed');
  return ranges.reduce((part, range) => {
    const places = slicedIndices(part.shape[range.axis]!, range);
    if (range.step === 1) return cut(part, range.axis, places[0] ?? 0, places.length, lower);
    return picked(part, range.axis, places, lower);
  }, x);
};

const gather: LoweringRule<OpArguments['Gather']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const indices = node.input(1).tensor;
  if (!indices) throw lower.unsupported(node, 'its indices are computed');
  const axis = normalizeAxis(args.axis, x.shape.length);
  const places = indices.integers.map((i) => (i < 0 ? i + x.shape[axis]! : i));
  const part = places.length === 1 ? cut(x, axis, places[0]!, 1, lower) : picked(x, axis, places, lower);
  return indices.shape.length === 1 ? part : lower.reshape(part, node.output().staticShape);
};

const expand: LoweringRule<object> = (node, _args, lower) => {
  const { staticShape } = node.output();
  return lower.call('BROADCAST_TO', [lower.tensor(node.input(0)), lower.integers(staticShape)], staticShape);
};

/** With one number. */
const pad: LoweringRule<OpArguments['Pad']> = (node, args, lower) => {
  const x = lower.tensor(node.input(0));
  const padding = paddingOf(args, x.shape.length);
  if (!padding || args.mode !== 'constant' || typeof args.value !== 'number')
    throw lower.unsupported(node, 'it pads with something else than one number, or by computed amounts');
  if (padding.some(({ before, after }) => before < 0 || after < 0))
    throw lower.unsupported(node, 'it cuts off');
  const amounts = x.shape.map(() => [0, 0]);
  for (const { axis, before, after } of padding) amounts[axis] = [before, after];
  const shape = x.shape.map((length, axis) => length + amounts[axis]![0]! + amounts[axis]![1]!);
  const places = lower.integers(amounts.flat(), [x.shape.length, 2]);
  if (args.value === 0) return lower.call('PAD', [x, places], shape);
  return lower.call('PADV2', [x, places, lower.number(args.value)], shape);
};

/** Ops that move elements about. */
export const layoutRules = {
  Reshape: reshape,
  Flatten: reshape,
  Squeeze: reshape,
  Unsqueeze: reshape,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  Expand: expand,
  Pad: pad,
} satisfies LoweringRules;
