import { UserError } from '../../common/errors.ts';
import type { Node, Shape, Value } from '../../graph/graph.ts';
import type { OpArguments, OpName } from '../../graph/schema/signature.ts';
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
export type DependencyRule<A> = (node: Node, args: A, context: DependencyContext) => readonly Layout[];

export type DependencyRules = { readonly [O in OpName]?: DependencyRule<OpArguments[O]> };

export const shapeOf = (value: Value): Shape => value.shape!;

/** Axes of a value moved to stand right-aligned in `rank`, as broadcasting does. */
export function aligned(context: DependencyContext, value: Value, rank: number): Labelled {
  const shape = shapeOf(value);
  const shift = rank - shape.length;
  if (shift < 0) throw new UserError(`${value.name} [${shape}] has more axes than what it is broadcast to`);
  return {
    dims: [...Array<number>(shift).fill(1), ...shape],
    layout: context.layout(value).map((factor) => ({ ...factor, axes: factor.axes.map((a) => a + shift) })),
  };
}

/** What is known of an op without a rule: none of the indices it reads may go. */
export const pinInputs = (node: Node, context: DependencyContext): readonly Layout[] => {
  for (const input of node.inputs) context.pin(context.layout(input));
  return [];
};
