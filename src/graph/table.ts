import { normalizeAxis } from './dim.ts';
import { argumentsOf } from './schema/arguments.ts';
import type { Graph, Node, Value } from './types.ts';

/** Rows of constants that are looked up by their number: embeddings of tokens, biases by relative position. */
export interface Table {
  /** The Gather. */
  readonly product: Node;
  /** The numbers of the rows. */
  readonly input: Value;
  /** `[rows, width]`. */
  readonly weight: Value;
  readonly layout: 'rows';
  readonly bias: undefined;
  readonly output: Value;
}

/** Smaller ones take as much space with a scale for each row. */
const least = { numbers: 4096, width: 16 } as const;

/** The look-up in a table that this node is; undefined when it is none, or in one that is small. */
export function matchTable(_graph: Graph, node: Node): Table | undefined {
  if (node.op !== 'Gather') return undefined;
  const [weight, input] = [node.input(0), node.input(1)];
  if (!weight.isConstant || weight.shape?.length !== 2) return undefined;
  const [rows, width] = weight.staticShape as [number, number];
  if (rows * width < least.numbers || width < least.width) return undefined;
  if (normalizeAxis(argumentsOf<'Gather'>(node).axis, 2) !== 0) return undefined;
  return { product: node, input, weight, layout: 'rows', bias: undefined, output: node.output() };
}
