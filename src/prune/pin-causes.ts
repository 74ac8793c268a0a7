import type { Node, Value } from '../graph/graph.ts';
import { type OpName, rowOf, rowsFor } from '../graph/schema/signature.ts';
import { subgraphs } from '../graph/traversal.ts';

/** Why channels can't be pruned. */
export interface PinCause {
  /**
   * `output`: the model returns them; `input`: they meet what the model is given; `softmax`: probabilities are over them;
   * `opaque`: an op that can't be seen through reads or makes them; `place`: they are taken by where they are (queries, keys and
   * values); `fixed`: an op needs all of them.
   */
  readonly kind: 'output' | 'input' | 'softmax' | 'opaque' | 'place' | 'fixed';
  readonly why: string;
  /** The input, output or node. */
  readonly at: string;
}

export const returned = (output: Value): PinCause => ({
  kind: 'output',
  why: 'the model returns what it makes',
  at: output.name,
});

export const given = (input: Value): PinCause => ({
  kind: 'input',
  why: 'what meets the input of the model stays',
  at: input.name,
});

type Words = (node: Node) => Pick<PinCause, 'kind' | 'why'>;

const fixed =
  (why: (op: string) => string): Words =>
  ({ op }) => ({ kind: 'fixed', why: why(op) });

/** What ops that pin channels do it for, keyed by `Node.op`. */
const pinWords: { readonly [O in OpName]?: Words } = {
  ...rowsFor('Softmax LogSoftmax Hardmax', ({ op }: Node) => ({
    kind: 'softmax' as const,
    why: `${op} is over them`,
  })),
  ...rowsFor('Gather Slice Split', ({ op }: Node) => ({
    kind: 'place' as const,
    why: `${op} takes them by their places`,
  })),
  ...rowsFor(
    'Reshape Flatten',
    fixed((op) => `${op} mixes them with other axes`),
  ),
  ...rowsFor(
    'Pad Resize Upsample Tile',
    fixed((op) => `${op} changes how many they are`),
  ),
};

const otherwise = fixed((op) => `${op} meets them with numbers that stay as many`);

/**
 * What a node that pins channels does it for.
 * @param seen whether there is a rule for it, and all shapes are known
 */
export function causeOf(node: Node, seen: { rule: boolean; shapes: boolean }): PinCause {
  const at = node.name || node.outputs[0]?.name || node.op;
  const opaque = (why: string): PinCause => ({ kind: 'opaque', why, at });
  if (!seen.rule) return opaque(`${node.op} has no dependency rule`);
  if (!seen.shapes) return opaque(`a shape at ${node.op} is not known`);
  if (subgraphs(node).length > 0) return opaque(`${node.op} runs graphs of its own`);
  return { ...((rowOf(pinWords, node) as Words | undefined) ?? otherwise)(node), at };
}
