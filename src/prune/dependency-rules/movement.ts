import { normalizeAxis, sameDim } from '../../graph/dim.ts';
import type { Node } from '../../graph/graph.ts';
import { isComputed } from '../../graph/schema/arguments.ts';
import { axesOf, permutationOf, squeezedAxes } from '../../graph/schema/axes.ts';
import { rangesOf, slicedIndices } from '../../graph/schema/ranges.ts';
import { type OpArguments, rowsFor } from '../../graph/schema/signature.ts';
import { factorOf, type Labelled, type Layout, moveAxes, permute } from '../layout.ts';
import {
  type DependencyContext,
  type DependencyRule,
  type DependencyRules,
  pinInputs,
  shapeOf,
} from './rule.ts';

const labelled = (context: DependencyContext, node: Node, index = 0): Labelled => ({
  dims: shapeOf(node.input(index)),
  layout: context.layout(node.input(index)),
});

const reshape = (node: Node, context: DependencyContext): readonly Layout[] => [
  context.reshape(labelled(context, node), shapeOf(node.output())),
];

const unsqueeze: DependencyRule<OpArguments['Unsqueeze']> = (node, args, context) => {
  const rank = shapeOf(node.output()).length;
  const added = axesOf(args.axes, rank);
  if (!added) return pinInputs(node, context);
  const places = [...Array(rank).keys()].filter((axis) => !added.includes(axis));
  return [moveAxes(context.layout(node.input(0)), (axis) => places[axis])];
};

const squeeze: DependencyRule<OpArguments['Squeeze']> = (node, args, context) => {
  const gone = squeezedAxes(args, shapeOf(node.input(0)));
  if (!gone) return pinInputs(node, context);
  return [moveAxes(context.layout(node.input(0)), (axis) => axis - gone.filter((g) => g < axis).length)];
};

const concat: DependencyRule<OpArguments['Concat']> = (node, { axis }, context) => [
  context.concat(
    node.inputs.map((_, i) => labelled(context, node, i)),
    normalizeAxis(axis, shapeOf(node.output()).length),
  ),
];

const indices = (start: number, end: number) =>
  Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i);

const split: DependencyRule<OpArguments['Split']> = (node, args, context) => {
  const { dims, layout } = labelled(context, node);
  const axis = normalizeAxis(args.axis, dims.length);
  let start = 0;
  return node.outputs.map((output) => {
    const length = output ? shapeOf(output)[axis] : 0;
    if (typeof length !== 'number' || !factorOf(layout, axis)) return layout;
    start += length;
    return context.take(layout, axis, indices(start - length, start));
  });
};

/**
 * Only runs of neighbours can be cut again after pruning; other steps pin the axis. In each outer index of a
 * box the run must begin at the same place.
 */
const slice: DependencyRule<OpArguments['Slice']> = (node, args, context) => {
  const { dims, layout } = labelled(context, node);
  const ranges = rangesOf(args, dims.length);
  if (!ranges) return pinInputs(node, context);
  let result: Layout = layout;
  for (const range of ranges) {
    const length = dims[range.axis];
    if (!factorOf(layout, range.axis) || typeof length !== 'number') continue;
    if (range.step !== 1) context.pinAxis(layout, range.axis);
    const taken = slicedIndices(length, range);
    context.keepEven(result, range.axis, indices(0, taken[0] ?? 0));
    result = context.take(result, range.axis, taken);
  }
  return [result];
};

/** Constant indices choose channels; of channels that are looked up, none may go. */
const gather: DependencyRule<OpArguments['Gather']> = (node, args, context) => {
  const { dims, layout } = labelled(context, node);
  const axis = normalizeAxis(args.axis, dims.length);
  const rank = shapeOf(node.input(1)).length;
  const place = (a: number) => (a < axis ? a : a + rank - 1);
  const rest = layout.filter((factor) => !factor.axes.includes(axis));
  const factor = factorOf(layout, axis);
  if (!factor) return [moveAxes(rest, place)];
  if (isComputed(args.indices) || rank > 1) {
    context.pinFactor(factor);
    return [moveAxes(rest, place)];
  }
  context.pinAxis(layout, axis);
  const length = dims[axis] as number;
  const taken = context.take(
    layout,
    axis,
    args.indices.map((index) => (index < 0 ? index + length : index)),
  );
  return [
    rank === 1
      ? taken
      : moveAxes(
          taken.filter((f) => !f.axes.includes(axis)),
          place,
        ),
  ];
};

/** Axes that are repeated from length 1 are not channels. */
const expand: DependencyRule<object> = (node, _args, context) => {
  const shift = shapeOf(node.output()).length - shapeOf(node.input(0)).length;
  return [moveAxes(context.layout(node.input(0)), (axis) => axis + shift)];
};

/** An axis that becomes longer or shorter keeps all its channels; the others pass. */
const pad: DependencyRule<object> = (node, _args, context) => {
  const { dims, layout } = labelled(context, node);
  const output = shapeOf(node.output());
  const kept = layout.filter((factor) => factor.axes.every((axis) => sameDim(output[axis], dims[axis])));
  context.pin(layout.filter((factor) => !kept.includes(factor)));
  return [kept];
};

export const movementRules = {
  Reshape: (node, { shape }, context) =>
    isComputed(shape) ? pinInputs(node, context) : reshape(node, context),
  Flatten: (node, _args, context) => reshape(node, context),
  Transpose: (node, args, context) => [
    permute(context.layout(node.input(0)), permutationOf(args, shapeOf(node.input(0)).length)),
  ],
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  Expand: expand,
  ...rowsFor('Pad Resize Upsample Tile', pad),
  ...rowsFor('Shape Size', (): readonly Layout[] => []),
} satisfies DependencyRules;
