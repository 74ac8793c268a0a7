import { normalizeAxis } from '../../graph/dim.ts';
import type { Node, Shape, Value } from '../../graph/graph.ts';
import type { Labelled, Layout } from '../layout.ts';
import type { Layouts } from '../layouts.ts';

/** What a rule sees: the union of labels, and the layouts of values that came before. */
export interface DependencyContext extends Layouts {
  /** Layout of a node's input; empty for an absent one, a graph input, or one that is no float tensor. */
  layout(value: Value | undefined): Layout;
}

/**
 * Unites the labels that an op makes depend on each other and gives its outputs' layouts (missing:
 * no labels). All shapes are known when a rule is called.
 */
export type DependencyRule = (node: Node, context: DependencyContext) => readonly Layout[];

export const shapeOf = (value: Value): Shape => value.shape!;

/** Axes of a value moved to stand right-aligned in `rank`, as broadcasting does. */
export function aligned(context: DependencyContext, value: Value, rank: number): Labelled {
  const shape = shapeOf(value);
  const shift = rank - shape.length;
  return {
    dims: [...Array<number>(shift).fill(1), ...shape],
    layout: context.layout(value).map((factor) => ({ ...factor, axes: factor.axes.map((a) => a + shift) })),
  };
}

/** The values of a constant integer input. */
export const integers = (node: Node, index: number): number[] | undefined =>
  node.inputs[index]?.tensor?.integers;

/** An axis attribute in [0, rank of input 0). */
export const axisOf = (node: Node, fallback?: number): number =>
  normalizeAxis(node.int('axis', fallback), shapeOf(node.input(0)).length);

/** Axes given as attribute (older operator sets) or as input `index`; undefined when computed. */
export function axesOf(node: Node, index: number, rank: number): number[] | undefined {
  const given = node.has('axes') ? node.ints('axes') : node.inputs[index] ? integers(node, index) : [];
  return given?.map((axis) => normalizeAxis(axis, rank));
}

/** One rule under several op names. */
export const rulesFor = (names: string, rule: DependencyRule): Record<string, DependencyRule> =>
  Object.fromEntries(names.split(' ').map((name) => [name, rule]));

/** What is known of an op without a rule: none of the indices it reads may go. */
export const pinInputs: DependencyRule = (node, context) => {
  for (const input of node.inputs) context.pin(context.layout(input));
  return [];
};
