import type { DataType } from '../tensor.ts';
import type { Node, Shape } from '../types.ts';

/** What a rule says of one output. Either part may be unknown. */
export interface Inferred {
  dtype: DataType | undefined;
  shape: Shape | undefined;
}

/** Dtypes and shapes of a node's outputs from those of its inputs (and the values of constant ones). */
export type ShapeRule = (node: Node, opset: number) => readonly Inferred[];
