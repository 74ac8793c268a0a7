import type { OpArguments, OpName } from '../schema/signature.ts';
import type { DataType } from '../tensor.ts';
import type { Dim, Node, Shape } from '../types.ts';

/** What a rule says of one output. Either part may be unknown. */
export interface Inferred {
  dtype: DataType | undefined;
  shape: Shape | undefined;
}

/** Dtypes and shapes of a node's outputs from those of its inputs and from its arguments. */
export type ShapeRule<O extends OpName> = (node: Node, args: OpArguments[O]) => readonly Inferred[];

export type ShapeRules = { readonly [O in OpName]?: ShapeRule<O> };

export const dtypeOf = (node: Node, index: number) => node.inputs[index]?.dtype;
export const shapeOf = (node: Node, index: number) => node.inputs[index]?.shape;

/** Output 0 has the dtype of input 0. */
export const shaped = (node: Node, shape: Shape | undefined): readonly Inferred[] => [
  { dtype: dtypeOf(node, 0), shape },
];

/** Output 0 is like input 0. */
export const sameAsInput = (node: Node): readonly Inferred[] => shaped(node, shapeOf(node, 0));

/** A length that is found at run time only, under a name that no other has. */
export const symbol = (node: Node, axis: number): Dim => `${node.output().name}_${axis}`;
