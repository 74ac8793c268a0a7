import type { Graph, Node, Value } from '../../graph/graph.ts';
import { replaceValue } from '../../graph/replace.ts';
import { argumentsOf, isComputed } from '../../graph/schema/arguments.ts';
import { rangesOf } from '../../graph/schema/ranges.ts';
import { scopedBuilder } from './linear.ts';

/** What a Slice of one axis, or a Gather of one index, takes of a value. */
interface Part {
  node: Node;
  axis: number;
  start: number;
  end: number;
  /** The axis goes away. */
  alone: boolean;
}

/**
 * Puts one `Split` in the place of the Slices, or the Gathers of one index, that together take all of an axis, each
 * place once (`unbind`, `chunk`, queries, keys and values). It does not fire on steps other than 1, and on a part
 * that is a graph output.
 */
export function partsToSplit(graph: Graph): void {
  const byValue = new Map<Value, Map<number, Part[]>>();
  for (const node of graph.nodes) {
    const part = partOf(graph, node);
    if (!part) continue;
    const axes = byValue.get(node.input(0)) ?? new Map<number, Part[]>();
    byValue.set(node.input(0), axes.set(part.axis, [...(axes.get(part.axis) ?? []), part]));
  }
  for (const [value, axes] of byValue) {
    for (const [axis, parts] of axes) split(graph, value, axis, parts);
  }
}

function partOf(graph: Graph, node: Node): Part | undefined {
  const shape = node.inputs[0]?.shape;
  if (!shape || node.inputs[0]!.isConstant || graph.outputs.includes(node.output())) return undefined;
  if (node.op === 'Gather') {
    const { axis: given, indices } = argumentsOf<'Gather'>(node);
    const axis = given < 0 ? given + shape.length : given;
    const length = shape[axis];
    if (
      isComputed(indices) ||
      indices.length !== 1 ||
      node.input(1).shape?.length ||
      typeof length !== 'number'
    )
      return undefined;
    const start = indices[0]! < 0 ? indices[0]! + length : indices[0]!;
    return { node, axis, start, end: start + 1, alone: true };
  }
  if (node.op !== 'Slice') return undefined;
  const ranges = rangesOf(argumentsOf<'Slice'>(node), shape.length);
  if (ranges?.length !== 1 || ranges[0]!.step !== 1) return undefined;
  const { axis, start, end } = ranges[0]!;
  const length = shape[axis];
  if (typeof length !== 'number') return undefined;
  const place = (x: number) => Math.min(Math.max(x < 0 ? x + length : x, 0), length);
  return { node, axis, start: place(start), end: place(end), alone: false };
}

function split(graph: Graph, value: Value, axis: number, parts: readonly Part[]): void {
  const ordered = [...parts].sort((a, b) => a.start - b.start);
  const length = value.shape![axis] as number;
  const whole = ordered.every(({ start, end }, i) => start === (ordered[i - 1]?.end ?? 0) && end > start);
  if (ordered.length < 2 || !whole || ordered.at(-1)!.end !== length) return;
  const first = graph.nodes.find((node) => parts.some((part) => part.node === node))!;
  const b = scopedBuilder(graph, first);
  const sizes = ordered.map(({ start, end }) => end - start);
  const even = sizes.every((size) => size === sizes[0]);
  const count = ordered.length;
  const cut = b.node(
    'Split',
    even ? [value] : [value, b.ints(sizes)],
    even ? { axis, num_outputs: count } : { axis },
    count,
    'part',
  );
  const results = ordered.map(({ alone }, i) => {
    const part = cut.output(i);
    return alone ? b.op('Squeeze', [part, b.ints([axis])], {}, 'squeezed') : part;
  });
  ordered.forEach(({ node }, i) => {
    replaceValue(graph, node.output(), results[i]!);
  });
  graph.removeNodes(ordered.map(({ node }) => node));
}
