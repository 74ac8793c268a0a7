import { Builder } from '../graph/builder.ts';
import { broadcastShapes, sameDim, sameShape } from '../graph/dim.ts';
import type { Graph, Node, Shape, Value } from '../graph/graph.ts';
import { isFixed } from '../graph/patterns.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { type OpName, rowOf, rowsFor } from '../graph/schema/signature.ts';
import { Tensor } from '../graph/tensor.ts';

/**
 * Takes out what repeats a tensor for every image of the batch, in place.
 * 1. An `Expand`, or a `Tile` of axes of length 1, whose readers all broadcast is left out.
 * 2. A `Concat` of such tensors, or of what is fixed, and one other along a later axis becomes a sum: the other padded with zeros, and
 *    they, joined and padded likewise, which then broadcasts. So our builders put a class token before the patches.
 *
 * It does not fire when several others are joined, or other axes are expanded too.
 */
export function batchExpansion(graph: Graph): void {
  for (const node of [...graph.nodes]) if (node.op === 'Concat') joinedToSum(graph, node);
  for (const node of [...graph.nodes]) {
    if ((node.op !== 'Expand' && node.op !== 'Tile') || graph.outputs.includes(node.output())) continue;
    const [from, to] = [node.input(0).shape, node.output().shape];
    if (!from || !to || !isStretched(from, to)) continue;
    const readers = node.output().uses.map((use) => use.node);
    if (!readers.every((reader) => broadcasts(reader, node.output(), from))) continue;
    graph.replaceUses(node.output(), node.input(0));
  }
  graph.removeDead();
}

/** What an Expand or Tile repeats along the first axis and nowhere else. */
function repeated(node: Node): Value | undefined {
  if (node.op !== 'Expand' && node.op !== 'Tile') return undefined;
  const [from, to] = [node.input(0).shape, node.output().shape];
  if (!from || !to || from.length > to.length) return undefined;
  const padded = [...Array(to.length - from.length).fill(1), ...from];
  const alike = to.every((dim, i) => i === 0 || sameDim(dim, padded[i]));
  return alike && padded[0] === 1 && to[0] !== 1 ? node.input(0) : undefined;
}

/** Ops that broadcast all that they read. */
const broadcasting: { readonly [O in OpName]?: true } = rowsFor('Add Sub Mul Div Pow Where', true);

/** Does a shape become the other by stretching axes of length 1? A Tile can also repeat what is longer. */
function isStretched(from: Shape, to: Shape): boolean {
  const padded = [...Array(Math.max(0, to.length - from.length)).fill(1), ...from];
  return padded.every((dim, i) => dim === 1 || sameDim(dim, to[i]));
}

/** Whether a reader gives the same when it is given what has the shape `from` in the place of a value. */
function broadcasts(reader: Node, value: Value, from: Shape): boolean {
  if (!rowOf(broadcasting, reader)) return false;
  const shapes = reader.inputs.map((input) => (input === value ? from : input?.shape));
  if (shapes.some((shape) => !shape)) return false;
  return sameShape((shapes as Shape[]).reduce(broadcastShapes), reader.output().shape);
}

/** What is the same for every image of a file of fixed batch: fixed itself, for a batch of 1, or a constant of equal rows. */
function fixedPart(graph: Graph, part: Value): Value | undefined {
  const images = part.shape?.[0];
  if (images === 1) return isFixed(part) ? part : undefined;
  const { tensor } = part;
  if (typeof images !== 'number' || tensor?.dtype !== 'float32' || tensor.size > rowLimit) return undefined;
  const row = tensor.floats.length / images;
  if (!tensor.floats.every((x, i) => x === tensor.floats[i % row])) return undefined;
  const first = new Tensor('float32', tensor.shape.with(0, 1), tensor.floats.slice(0, row));
  return graph.addConstant(graph.uniqueName(`${part.name}_row`), first);
}

/** Tokens are small; what is larger is not looked at. */
const rowLimit = 1 << 20;

function joinedToSum(graph: Graph, node: Node): void {
  const shape = node.output().shape;
  if (!shape) return;
  const axis = (argumentsOf<'Concat'>(node).axis + shape.length) % shape.length;
  const length = shape[axis];
  const parts = node.inputs as readonly Value[];
  const whole = parts.map(
    (part) => (part.producer ? repeated(part.producer) : undefined) ?? fixedPart(graph, part),
  );
  const others = parts.flatMap((_, i) => (whole[i] ? [] : [i]));
  const lengths = parts.map((part) => part.shape?.[axis]);
  if (axis === 0 || others.length !== 1 || parts.length < 2) return;
  if (typeof length !== 'number' || !lengths.every((part) => typeof part === 'number')) return;
  const at = others[0]!;
  const [before, after] = [lengths.slice(0, at), lengths.slice(at + 1)].map((side) =>
    side.reduce((sum, part) => sum + part, 0),
  ) as [number, number];
  const b = new Builder(graph, node);
  const pads = (front: number, back: number) => {
    const all: number[] = Array(2 * shape.length).fill(0);
    [all[axis], all[axis + shape.length]] = [front, back];
    return b.ints(all);
  };
  const joined = (values: readonly Value[]) =>
    values.length > 1 ? b.op('Concat', values, { axis }, 'prefix') : values[0]!;
  const pieces: Value[] = [];
  const ofRank = (value: Value | undefined): Value => {
    const missing = shape.length - value!.shape!.length;
    return missing === 0
      ? value!
      : b.op('Unsqueeze', [value, b.ints([...Array(missing).keys()])], {}, 'token');
  };
  const [front, back] = [whole.slice(0, at).map(ofRank), whole.slice(at + 1).map(ofRank)] as const;
  if (front.length) pieces.push(b.op('Pad', [joined(front), pads(0, length - before)], {}, 'prefix_padded'));
  if (back.length) pieces.push(b.op('Pad', [joined(back), pads(length - after, 0)], {}, 'suffix_padded'));
  const padded = b.op('Pad', [parts[at], pads(before, after)], {}, 'patches_padded');
  const sum = pieces.reduce((total, piece) => b.op('Add', [total, piece], {}, 'embedded'), padded);
  replaceValue(graph, node.output(), sum);
  graph.removeNodes([node]);
}
