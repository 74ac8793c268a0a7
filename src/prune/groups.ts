import * as z from 'zod';
import { validated } from '../common/options.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { connectBoxes, distinctBoxes, headDimGroups, headGroups } from './attention-groups.ts';
import { type Dependencies, findDependencies } from './dependency.ts';
import { GroupMaker, type HeadDims, headDimKinds, type PruningGroup } from './group.ts';
import { Labels } from './labels.ts';
import type { Box } from './layout.ts';
import { type LeftWhole, leftWhole } from './left-whole.ts';
import { rolesOf } from './roles.ts';

/** Which channels are chosen together. */
export const groupOptions = z.object({
  headDims: z.enum(headDimKinds).default('free').meta({
    description:
      'tied: the same dimensions leave every head, and queries, keys and values alike; free: each head chooses, which keeps more of the accuracy at the same size',
    value: 'how',
  }),
});

export type GroupOptions = z.input<typeof groupOptions>;

export interface Grouping {
  readonly groups: readonly PruningGroup[];
  /** Ops without a dependency rule: the channels they read are in no group. */
  readonly unknownOps: readonly string[];
  /** What of layers is in no group, and why. */
  readonly leftWhole: readonly LeftWhole[];
}

/** The prunable groups of a graph. Shapes must have been inferred. The classifier's outputs are in none. */
export function findGroups(graph: Graph, options: GroupOptions = {}): Grouping {
  const { headDims } = validated(groupOptions, options);
  const roleOf = rolesOf(graph);
  const elements = findDependencies(graph);
  const wholes = findDependencies(graph, 'wholes');
  const groups = [
    ...elementGroups(elements, new GroupMaker(elements, roleOf), headDims),
    ...wholeGroups(wholes, new GroupMaker(wholes, roleOf)),
  ];
  const found = groups.filter(hasProducer).sort(byPlace(elements.constants));
  return {
    groups: found,
    unknownOps: elements.unknownOps,
    leftWhole: leftWhole(found, elements, wholes, roleOf),
  };
}

function elementGroups(dependencies: Dependencies, maker: GroupMaker, headDims: HeadDims): PruningGroup[] {
  const { labels } = dependencies.layouts;
  const boxes = distinctBoxes(dependencies);
  const boxed = boxes.flatMap((box) => [...box.labels].map((label) => labels.find(label)));
  const outer = new Set(boxes.flatMap((box) => outerRoots(box, labels)));
  return [
    ...channelGroups(maker, new Set([Labels.pinned, ...boxed, ...outer])),
    ...connectBoxes(boxes, labels).flatMap((set) => headDimGroups(set, maker, labels, outer, headDims)),
  ];
}

function wholeGroups(dependencies: Dependencies, maker: GroupMaker): PruningGroup[] {
  const { labels } = dependencies.layouts;
  return connectBoxes(distinctBoxes(dependencies), labels).flatMap((set) => headGroups(set, maker, labels));
}

const outerRoots = (box: Box, labels: Labels): number[] =>
  box.outer.flatMap((axis) => [...(axis ?? [])].map((label) => labels.find(label)));

/** A group is worth pruning when its units are outputs of a Linear or Conv. */
const hasProducer = (group: PruningGroup) => group.slices.some((slice) => slice.role === 'output');

const byPlace = (constants: readonly Value[]) => {
  const place = new Map(constants.map((value, i) => [value, i]));
  const first = (group: PruningGroup) => Math.min(...group.slices.map((s) => place.get(s.parameter)!));
  return (a: PruningGroup, b: PruningGroup) => first(a) - first(b);
};

/** Components outside boxes, grouped by the set of axes that they own an index of. */
function channelGroups(maker: GroupMaker, taken: ReadonlySet<number>): PruningGroup[] {
  const byOwners = new Map<string, number[]>();
  for (const [root, owners] of maker.owners) {
    if (taken.has(root)) continue;
    const key = `${owners}`;
    const roots = byOwners.get(key);
    if (roots) roots.push(root);
    else byOwners.set(key, [root]);
  }
  return [...byOwners.values()].map((roots) =>
    maker.group(
      'channels',
      roots.map((root) => [root]),
    ),
  );
}
