import type { Node } from '../../graph/graph.ts';
import { isComputed } from '../../graph/schema/arguments.ts';
import { copiedPlaces, paddingOf } from '../../graph/schema/ranges.ts';
import { type ResizedAxis, resizedAxes, resizeMatrix } from '../../graph/schema/resize.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { bool, float, int, ints, none, type Operand } from './program.ts';
import { lowest } from './rules-pooling.ts';

type Arguments = OpArguments['Resize'];

/** What ATen's upsampling does along an axis, in the words of Resize; its nearest takes the place below. */
const own: Record<string, Partial<Arguments>> = {
  nearest: { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
  linear: { mode: 'linear', coordinate_transformation_mode: 'half_pixel' },
  aligned: { mode: 'linear', coordinate_transformation_mode: 'align_corners' },
  cubic: { mode: 'cubic', coordinate_transformation_mode: 'half_pixel', cubic_coeff_a: -0.75 },
};

const operators: Record<string, readonly [operator: string, ...corners: Operand[]]> = {
  nearest: ['aten::upsample_nearest2d'],
  linear: ['aten::upsample_bilinear2d', bool(false)],
  aligned: ['aten::upsample_bilinear2d', bool(true)],
  cubic: ['aten::upsample_bicubic2d', bool(false)],
};

/** The upsampling of ATen that has the same weights in every place, if there is one. */
function sameUpsampling(axes: readonly ResizedAxis[], args: Arguments): string | undefined {
  const plain = { ...argumentsAsObject(args), antialias: 0, exclude_outside: 0 };
  return Object.keys(own).find((name) =>
    axes.every((resized) => {
      const theirs = resizeMatrix(
        { ...resized, scale: resized.to / resized.from },
        { ...plain, ...own[name] },
      );
      return resizeMatrix(resized, args).every((weight, i) => Math.abs(weight - theirs[i]!) < 1e-7);
    }),
  );
}

const argumentsAsObject = (args: Arguments): Arguments => ({
  ...{ antialias: args.antialias, axes: args.axes, scales: args.scales, sizes: args.sizes },
  ...{
    coordinate_transformation_mode: args.coordinate_transformation_mode,
    cubic_coeff_a: args.cubic_coeff_a,
  },
  ...{ exclude_outside: args.exclude_outside, extrapolation_value: args.extrapolation_value },
  ...{
    keep_aspect_ratio_policy: args.keep_aspect_ratio_policy,
    mode: args.mode,
    nearest_mode: args.nearest_mode,
  },
});

/** As an operator of ATen where one has the same weights; otherwise as a product with them, axis by axis. */
const resize: LoweringRule<Arguments> = (node, args, lower) => {
  const x = node.input(0);
  const rank = lower.rank(node, x);
  const axes = resizedAxes(node, args);
  if (!axes) throw lower.unsupported(node, 'its size is computed at run time, where a constant is needed');
  const name = rank === 4 && axes.every(({ axis }) => axis >= 2) ? sameUpsampling(axes, args) : undefined;
  if (!name)
    return axes.reduce((value, axis) => weighted(node, value, axis, args, rank, lower), lower.tensor(x));
  const [operator, ...corners] = operators[name]!;
  const size = ints(node.output().shape!.slice(2) as number[]);
  return lower.call(operator, [lower.tensor(x), size, ...corners, none, none]);
};

function weighted(
  node: Node,
  x: Operand,
  resized: ResizedAxis,
  args: Arguments,
  rank: number,
  lower: Lowering,
): Operand {
  const { axis, from, to } = resized;
  const matrix = Tensor.float32([to, from], resizeMatrix(resized, args));
  const weights = lower.weight(`${node.output().name}_weights_${axis}`, matrix);
  const last = axis === rank - 1;
  const swap = (value: Operand) => lower.call('aten::transpose.int', [value, int(axis), int(rank - 1)]);
  const made = lower.call('aten::matmul', [last ? x : swap(x), lower.call('aten::t', [weights])]);
  return last ? made : swap(made);
}

/** A padding with copies is a selection, axis by axis. */
function copied(node: Node, args: OpArguments['Pad'], lower: Lowering): Operand {
  const input = node.input(0);
  const padding = paddingOf(args, lower.rank(node, input));
  if (!padding)
    throw lower.unsupported(node, 'its padding is computed at run time, where a constant is needed');
  return padding
    .filter(({ before, after }) => before !== 0 || after !== 0)
    .reduce((x, { axis, before, after }) => {
      const length = input.shape![axis];
      if (typeof length !== 'number')
        throw lower.unsupported(node, `the length of axis ${axis} is not known`);
      const places = Tensor.int64(copiedPlaces(args.mode, length, before, after));
      const picked = lower.weight(`${node.output().name}_places_${axis}`, places);
      return lower.call('aten::index_select', [x, int(axis), picked]);
    }, lower.tensor(input));
}

const pad: LoweringRule<OpArguments['Pad']> = (node, args, lower) => {
  if (args.mode !== 'constant') return copied(node, args, lower);
  const rank = lower.rank(node, node.input(0));
  const padding = paddingOf(args, rank);
  if (!padding)
    throw lower.unsupported(node, 'its padding is computed at run time, where a constant is needed');
  const both = Array.from({ length: rank }, () => [0, 0]);
  for (const { axis, before, after } of padding) both[axis] = [before, after];
  const pooled = node.output().uses.every((use) => use.node.op === 'MaxPool');
  const filling = args.value === Number.NEGATIVE_INFINITY && pooled ? lowest : args.value;
  if (isComputed(filling) || !Number.isFinite(filling)) {
    throw lower.unsupported(node, 'it pads with no finite constant');
  }
  const value = node.input(0).dtype?.includes('int') ? int(filling) : float(filling);
  return lower.call('aten::constant_pad_nd', [
    lower.tensor(node.input(0)),
    ints(both.reverse().flat()),
    value,
  ]);
};

/** Ops that make axes longer or shorter. */
export const resizeRules = {
  Resize: resize,
  Pad: pad,
} satisfies LoweringRules;
