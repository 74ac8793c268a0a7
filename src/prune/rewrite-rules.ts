import type { Builder } from '../graph/builder.ts';
import { normalizeAxis } from '../graph/dim.ts';
import type { Node } from '../graph/graph.ts';
import type { Removal } from './removal.ts';

/**
 * Changes the numbers in a node that name lengths or places of channels. A rule reads the node of the
 * graph before pruning and edits its copy; shapes are inferred again afterwards.
 */
export type RewriteRule = (node: Node, copy: Node, removal: Removal, builder: Builder) => void;

const ints = (node: Node, index: number): number[] | undefined => node.inputs[index]?.tensor?.integers;

/** A shape constant whose fixed lengths follow their axes; 0 (as the input) and -1 (what is left) stay. */
const target: RewriteRule = (node, copy, removal, builder) => {
  const dims = ints(node, 1);
  if (!dims) return;
  const output = node.output();
  const shift = output.shape!.length - dims.length;
  const next = dims.map((dim, i) => (dim > 1 ? (removal.length(output, i + shift) ?? dim) : dim));
  if (`${next}` !== `${dims}`) copy.setInput(1, builder.ints(next));
};

/** Parts as long as what stays of each. An even split that stays even needs no sizes. */
const split: RewriteRule = (node, copy, removal, builder) => {
  const axis = normalizeAxis(node.int('axis', 0), node.input(0).shape!.length);
  const before = node.outputs.map((output) => output!.shape![axis]!);
  const after = node.outputs.map((output, i) => removal.length(output!, axis) ?? before[i]!);
  if (`${after}` === `${before}`) return;
  const even = after.every((length) => length === after[0]);
  if (even && !node.inputs[1] && !node.has('split')) return;
  copy.removeAttribute('num_outputs');
  if (node.has('split')) copy.setAttribute('split', after as number[]);
  else copy.setInput(1, builder.ints(after as number[]));
};

/** Starts and ends move down by what goes before them. */
const slice: RewriteRule = (node, copy, removal, builder) => {
  const value = node.input(0);
  const rank = value.shape!.length;
  const asAttribute = node.has('starts');
  const starts = asAttribute ? node.ints('starts') : (ints(node, 1) ?? []);
  const ends = asAttribute ? node.ints('ends') : (ints(node, 2) ?? []);
  const axes = (node.has('axes') ? node.ints('axes') : ints(node, 3)) ?? starts.map((_, i) => i);
  const next = { starts: [...starts], ends: [...ends] };
  axes.forEach((given, i) => {
    const axis = normalizeAxis(given, rank);
    const length = value.shape![axis];
    if (typeof length !== 'number' || removal.length(value, axis) === undefined) return;
    const place = (x: number) => Math.min(Math.max(x < 0 ? x + length : x, 0), length);
    const [start, end] = [place(starts[i]!), place(ends[i]!)];
    next.starts[i] = start === 0 ? 0 : removal.count(value, axis, 0, start);
    next.ends[i] = next.starts[i]! + removal.count(value, axis, start, end);
  });
  if (`${next.starts}` === `${starts}` && `${next.ends}` === `${ends}`) return;
  if (asAttribute) {
    copy.setAttribute('starts', next.starts);
    copy.setAttribute('ends', next.ends);
  } else {
    copy.setInput(1, builder.ints(next.starts));
    copy.setInput(2, builder.ints(next.ends));
  }
};

/** Depthwise convolutions have a group for each channel that stays. */
const convolution: RewriteRule = (node, copy, removal) => {
  const groups = node.int('group', 1);
  if (groups === 1 || node.input(1).shape![1] !== 1) return;
  const channels = removal.length(node.input(0), 1);
  if (channels !== undefined) copy.setAttribute('group', channels);
};

/** What else than parameters changes in a node when channels go, keyed by `Node.op`. */
export const rewriteRules: Record<string, RewriteRule> = {
  Reshape: target,
  Expand: target,
  Split: split,
  Slice: slice,
  Conv: convolution,
};
