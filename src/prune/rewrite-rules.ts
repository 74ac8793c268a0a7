import type { Builder } from '../graph/builder.ts';
import { normalizeAxis } from '../graph/dim.ts';
import type { Node } from '../graph/graph.ts';
import { argumentsOf, isComputed, setArguments } from '../graph/schema/arguments.ts';
import { rangesOf } from '../graph/schema/ranges.ts';
import { type OpArguments, type OpName, rowOf, rowsFor } from '../graph/schema/signature.ts';
import type { Removal } from './removal.ts';

/** A change of some of a node's arguments; undefined where they stay. */
type Change<O extends OpName> = {
  readonly [N in keyof OpArguments[O]]?: readonly number[] | number | undefined;
};

/**
 * The arguments of a node that name lengths or places of channels, as they are when channels have gone.
 * The node is that of the graph before pruning.
 */
type RewriteRule<O extends OpName> = (
  node: Node,
  args: OpArguments[O],
  removal: Removal,
) => Change<O> | undefined;

/** A shape whose fixed lengths follow their axes; 0 (as the input) and -1 (what is left) stay. */
const target = (
  node: Node,
  { shape: dims }: OpArguments['Expand' | 'Reshape'],
  removal: Removal,
): { shape: number[] } | undefined => {
  if (isComputed(dims)) return undefined;
  const output = node.output();
  if (!output.shape) return undefined;
  const shift = output.shape.length - dims.length;
  const next = dims.map((dim, i) => (dim > 1 ? (removal.length(output, i + shift) ?? dim) : dim));
  return `${next}` === `${dims}` ? undefined : { shape: next };
};

/** Parts as long as what stays of each. An even split that stays even needs no sizes. */
const split: RewriteRule<'Split'> = (node, args, removal) => {
  if (!node.input(0).shape || node.outputs.some((output) => !output?.shape)) return undefined;
  const axis = normalizeAxis(args.axis, node.input(0).shape!.length);
  const before = node.outputs.map((output) => output!.shape![axis] as number);
  const after = node.outputs.map((output, i) => (removal.length(output!, axis) as number) ?? before[i]!);
  if (`${after}` === `${before}`) return undefined;
  const even = after.every((length) => length === after[0]);
  return even && args.split === undefined ? undefined : { num_outputs: undefined, split: after };
};

/** Starts and ends move down by what goes before them. */
const slice: RewriteRule<'Slice'> = (node, args, removal) => {
  const value = node.input(0);
  const ranges = value.shape && rangesOf(args, value.shape.length);
  if (!ranges) return undefined;
  const next = ranges.map(({ axis, start, end }) => {
    const length = value.shape?.[axis];
    if (typeof length !== 'number' || removal.length(value, axis) === undefined) return { start, end };
    const place = (x: number) => Math.min(Math.max(x < 0 ? x + length : x, 0), length);
    const from = place(start) === 0 ? 0 : removal.count(value, axis, 0, place(start));
    return { start: from, end: from + removal.count(value, axis, place(start), place(end)) };
  });
  if (next.every(({ start, end }, i) => start === ranges[i]!.start && end === ranges[i]!.end))
    return undefined;
  return { starts: next.map(({ start }) => start), ends: next.map(({ end }) => end) };
};

/** Depthwise convolutions have a group for each channel that stays. */
const convolution: RewriteRule<'Conv'> = (node, { group }, removal) => {
  if (group === 1 || node.input(1).shape![1] !== 1) return undefined;
  const channels = removal.length(node.input(0), 1);
  return channels === undefined ? undefined : { group: channels as number };
};

/** Sizes follow their axes, also of those that stay as they are. */
const resize: RewriteRule<'Resize'> = (node, { axes, sizes }, removal) => {
  if (sizes === undefined || isComputed(sizes) || sizes.length === 0) return undefined;
  const output = node.output();
  const rank = output.shape!.length;
  const next = sizes.map((size, i) => removal.length(output, normalizeAxis(axes?.[i] ?? i, rank)) ?? size);
  return `${next}` === `${sizes}` ? undefined : { sizes: next as number[] };
};

/** What else than parameters changes in a node when channels go, keyed by `Node.op`. */
export const rewriteRules: { readonly [O in OpName]?: RewriteRule<O> } = {
  ...rowsFor('Reshape Expand', target),
  Split: split,
  Slice: slice,
  Conv: convolution,
  Resize: resize,
};

/** Rewrites `copy`, a node of the pruned graph, by its rule for `node`, the one that it is a copy of. */
export function rewriteNode(node: Node, copy: Node, removal: Removal, builder: Builder): void {
  const rule = rowOf(rewriteRules, node) as RewriteRule<OpName> | undefined;
  const change = rule?.(node, argumentsOf(node), removal);
  if (change) setArguments(copy, change as Change<'Slice'>, (tensor) => builder.constant(tensor, 'ints'));
}
