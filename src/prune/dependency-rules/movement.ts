import type { Node } from '../../graph/graph.ts';
import { factorOf, type Labelled, type Layout, moveAxes, permute } from '../layout.ts';
import {
  axesOf,
  axisOf,
  type DependencyContext,
  type DependencyRule,
  integers,
  pinInputs,
  rulesFor,
  shapeOf,
} from './rule.ts';

const labelled = (context: DependencyContext, node: Node, index = 0): Labelled => ({
  dims: shapeOf(node.input(index)),
  layout: context.layout(node.input(index)),
});

const reshape: DependencyRule = (node, context) => {
  if (node.op === 'Reshape' && !node.input(1).tensor) return pinInputs(node, context);
  return [context.reshape(labelled(context, node), shapeOf(node.output()))];
};

const transpose: DependencyRule = (node, context) => {
  const rank = shapeOf(node.input(0)).length;
  return [permute(context.layout(node.input(0)), node.ints('perm', [...Array(rank).keys()].reverse()))];
};

const unsqueeze: DependencyRule = (node, context) => {
  const rank = shapeOf(node.output()).length;
  const added = axesOf(node, 1, rank);
  if (!added) return pinInputs(node, context);
  const places = [...Array(rank).keys()].filter((axis) => !added.includes(axis));
  return [moveAxes(context.layout(node.input(0)), (axis) => places[axis])];
};

const squeeze: DependencyRule = (node, context) => {
  const shape = shapeOf(node.input(0));
  const given = axesOf(node, 1, shape.length);
  if (!given) return pinInputs(node, context);
  const gone = given.length ? given : [...shape.keys()].filter((axis) => shape[axis] === 1);
  return [moveAxes(context.layout(node.input(0)), (axis) => axis - gone.filter((g) => g < axis).length)];
};

const concat: DependencyRule = (node, context) => [
  context.concat(
    node.inputs.map((_, i) => labelled(context, node, i)),
    axisOf(node),
  ),
];

const range = (start: number, end: number) =>
  Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i);

const split: DependencyRule = (node, context) => {
  const { layout } = labelled(context, node);
  const axis = axisOf(node, 0);
  let start = 0;
  return node.outputs.map((output) => {
    const length = output ? shapeOf(output)[axis] : 0;
    if (typeof length !== 'number' || !factorOf(layout, axis)) return layout;
    start += length;
    return context.take(layout, axis, range(start - length, start));
  });
};

/** The indices that a Slice takes of an axis of known length. */
export function slicedIndices(length: number, start: number, end: number, step: number): number[] {
  const clamp = (x: number, low: number, high: number) =>
    Math.min(Math.max(x < 0 ? x + length : x, low), high);
  const indices: number[] = [];
  if (step > 0) for (let i = clamp(start, 0, length); i < clamp(end, 0, length); i += step) indices.push(i);
  else for (let i = clamp(start, 0, length - 1); i > clamp(end, -1, length - 1); i += step) indices.push(i);
  return indices;
}

/** Only runs of neighbours can be cut again after pruning; other steps pin the axis. */
const slice: DependencyRule = (node, context) => {
  const { dims, layout } = labelled(context, node);
  const starts = node.has('starts') ? node.ints('starts') : integers(node, 1);
  const ends = node.has('ends') ? node.ints('ends') : integers(node, 2);
  const axes = node.has('axes') || node.inputs[3] ? axesOf(node, 3, dims.length) : starts?.map((_, i) => i);
  const steps = node.inputs[4] ? integers(node, 4) : starts?.map(() => 1);
  if (!starts || !ends || !axes || !steps) return pinInputs(node, context);
  let result: Layout = layout;
  axes.forEach((axis, i) => {
    const length = dims[axis];
    if (!factorOf(layout, axis) || typeof length !== 'number') return;
    if (steps[i] !== 1) context.pinAxis(layout, axis);
    result = context.take(result, axis, slicedIndices(length, starts[i]!, ends[i]!, steps[i]!));
  });
  return [result];
};

/** Constant indices choose channels; of channels that are looked up, none may go. */
const gather: DependencyRule = (node, context) => {
  const { dims, layout } = labelled(context, node);
  const axis = axisOf(node, 0);
  const rank = shapeOf(node.input(1)).length;
  const place = (a: number) => (a < axis ? a : a + rank - 1);
  const rest = layout.filter((factor) => !factor.axes.includes(axis));
  const factor = factorOf(layout, axis);
  if (!factor) return [moveAxes(rest, place)];
  const given = integers(node, 1);
  if (!given || rank > 1) {
    context.pinFactor(factor);
    return [moveAxes(rest, place)];
  }
  context.pinAxis(layout, axis);
  const length = dims[axis] as number;
  const taken = context.take(
    layout,
    axis,
    given.map((index) => (index < 0 ? index + length : index)),
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
const expand: DependencyRule = (node, context) => {
  const shift = shapeOf(node.output()).length - shapeOf(node.input(0)).length;
  return [moveAxes(context.layout(node.input(0)), (axis) => axis + shift)];
};

const pad: DependencyRule = (node, context) => {
  const { dims, layout } = labelled(context, node);
  const output = shapeOf(node.output());
  dims.forEach((dim, axis) => {
    if (output[axis] !== dim) context.pinAxis(layout, axis);
  });
  return [layout.filter((factor) => factor.axes.every((axis) => output[axis] === dims[axis]))];
};

export const movementRules: Record<string, DependencyRule> = {
  ...rulesFor('Reshape Flatten', reshape),
  Transpose: transpose,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  Expand: expand,
  ...rulesFor('Pad Resize', pad),
  Shape: () => [],
  Size: () => [],
};
