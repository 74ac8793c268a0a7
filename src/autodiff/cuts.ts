import { elementsPerImage } from '../graph/cost.ts';
import type { Node, Value } from '../graph/graph.ts';
import { dataTypes } from '../graph/tensor.ts';

/** More parts than these are not tried. */
const mostParts = 64;

/** Bytes for each image; of what has no known shape or numbers, none. */
export const bytesPerImage = ({ dtype, shape }: Value): number =>
  dtype === undefined || dtype === 'string' || !shape
    ? 0
    : (elementsPerImage(shape) * dataTypes[dtype].bits) / 8;

/**
 * Cuts nodes into stretches where few bytes cross: so that what crosses the cuts, and what one stretch keeps for later,
 * are least together (Chen et al., arXiv 1604.06174, with unequal costs). For each bound on a stretch the cheapest cuts
 * within it are a shortest path; the best bound is that of the least sum. In a transformer what crosses a cut is the
 * residual stream.
 *
 * @param nodes in an order in which they can run
 * @param crosses whether a value has to be kept where it crosses a cut
 * @param kept what is read of the nodes' values after all of them have run
 */
export function leastCuts(
  nodes: readonly Node[],
  crosses: (value: Value) => boolean,
  kept: ReadonlySet<Value>,
): Node[][] {
  const crossing = bytesCrossing(nodes, crosses);
  const made = [0];
  for (const node of nodes) {
    const bytes = node.outputs.reduce(
      (sum, value) => sum + (value && kept.has(value) ? bytesPerImage(value) : 0),
      0,
    );
    made.push(made.at(-1)! + bytes);
  }
  const total = made.at(-1)!;
  let best = { cost: total, cuts: [] as number[] };
  for (let parts = 2; parts <= mostParts; parts++) {
    const found = cheapestWithin(total / parts, crossing, made);
    if (found && found.cost < best.cost) best = found;
  }
  const bounds = [0, ...best.cuts, nodes.length];
  return bounds.slice(1).map((end, i) => nodes.slice(bounds[i], end));
}

/** For each place between two nodes, the bytes of values that are made before and read behind it. */
function bytesCrossing(nodes: readonly Node[], crosses: (value: Value) => boolean): number[] {
  const place = new Map(nodes.map((node, i) => [node, i]));
  const change = new Array<number>(nodes.length + 1).fill(0);
  nodes.forEach((node, i) => {
    for (const value of node.outputs) {
      if (!value || !crosses(value)) continue;
      const last = Math.max(i, ...value.uses.map((use) => place.get(use.node) ?? i));
      change[i + 1]! += bytesPerImage(value);
      change[last + 1]! -= bytesPerImage(value);
    }
  });
  let sum = 0;
  return change.map((bytes) => {
    sum += bytes;
    return sum;
  });
}

/** The cuts of least crossing bytes between which at most `bound` bytes are made; undefined where one node makes more. */
function cheapestWithin(
  bound: number,
  crossing: readonly number[],
  made: readonly number[],
): { cost: number; cuts: number[] } | undefined {
  const end = made.length - 1;
  const cost = new Array<number>(made.length).fill(Number.POSITIVE_INFINITY);
  const from = new Array<number>(made.length).fill(0);
  cost[0] = 0;
  for (let at = 1; at <= end; at++) {
    for (let before = at - 1; before >= 0 && made[at]! - made[before]! <= bound; before--) {
      const sum = cost[before]! + (at === end ? 0 : crossing[at]!);
      if (sum >= cost[at]!) continue;
      cost[at] = sum;
      from[at] = before;
    }
  }
  if (cost[end] === Number.POSITIVE_INFINITY) return undefined;
  const cuts: number[] = [];
  for (let at = from[end]!; at > 0; at = from[at]!) cuts.unshift(at);
  const bounds = [0, ...cuts, end];
  const largest = Math.max(...bounds.slice(1).map((at, i) => made[at]! - made[bounds[i]!]!));
  return { cost: cost[end]! + largest, cuts };
}
