import type { Graph, Value } from '../graph/graph.ts';
import { connectBoxes, headDimGroups, headGroups } from './attention-groups.ts';
import { type Dependencies, findDependencies } from './dependency.ts';
import { type HeadDims, isResidual, nameOf, type Owner, type PruningGroup, slicesOf } from './group.ts';
import { Labels } from './labels.ts';
import type { Box } from './layout.ts';
import { type Role, rolesOf } from './roles.ts';

export interface GroupOptions {
  /**
   * `tied`: the same dimension indices leave every head, and queries, keys and values alike.
   * `free` (default): heads choose for themselves, values apart from queries and keys; it keeps more of
   * the accuracy at the same size.
   */
  headDims?: HeadDims;
}

export interface Grouping {
  readonly groups: readonly PruningGroup[];
  /** The sweeps that the groups' labels are of: of channels and head dimensions, and of heads. */
  readonly elements: Dependencies;
  readonly wholes: Dependencies;
}

/** The prunable groups of a graph. Shapes must have been inferred. The classifier's outputs are in none. */
export function findGroups(graph: Graph, { headDims = 'free' }: GroupOptions = {}): Grouping {
  const roleOf = rolesOf(graph);
  const elements = findDependencies(graph);
  const wholes = findDependencies(graph, 'wholes');
  const groups = [
    ...elementGroups(elements, ownersOf(elements, roleOf), headDims),
    ...wholeGroups(wholes, ownersOf(wholes, roleOf)),
  ];
  return { elements, wholes, groups: groups.filter(hasProducer).sort(byPlace(elements.constants)) };
}

function elementGroups(
  dependencies: Dependencies,
  owners: readonly Owner[],
  headDims: HeadDims,
): PruningGroup[] {
  const { labels } = dependencies.layouts;
  const boxes = distinctBoxes(dependencies);
  const boxed = new Set(boxes.flatMap((box) => [...box.labels].map((label) => labels.find(label))));
  const outer = new Set(boxes.flatMap((box) => outerRoots(box, labels)));
  const residual = dependencies.layouts.residual();
  return [
    ...channelGroups(owners, new Set([...boxed, ...outer]), residual),
    ...connectBoxes(boxes, labels).flatMap((set) =>
      headDimGroups(set, owners, labels, outer, residual, headDims),
    ),
  ];
}

function wholeGroups(dependencies: Dependencies, owners: readonly Owner[]): PruningGroup[] {
  const { labels } = dependencies.layouts;
  return connectBoxes(distinctBoxes(dependencies), labels).flatMap((set) =>
    headGroups(set, owners, labels, dependencies.layouts.residual()),
  );
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

function ownersOf(
  { constants, layout, layouts }: Dependencies,
  roleOf: (value: Value, axis: number) => Role,
): Owner[] {
  return constants.flatMap((parameter) =>
    layout(parameter).map((factor) => ({
      parameter,
      axis: factor.axes[0]!,
      role: roleOf(parameter, factor.axes[0]!),
      roots: factor.labels.map((label) => layouts.labels.find(label)),
    })),
  );
}

/** Components outside boxes, grouped by the set of axes that they own an index of. */
function channelGroups(
  owners: readonly Owner[],
  boxed: ReadonlySet<number>,
  residual: ReadonlySet<number>,
): PruningGroup[] {
  const owning = new Map<number, number[]>();
  owners.forEach(({ roots }, i) => {
    for (const root of roots) {
      if (root === Labels.pinned || boxed.has(root)) continue;
      const list = owning.get(root);
      if (!list) owning.set(root, [i]);
      else if (list[list.length - 1] !== i) list.push(i);
    }
  });
  const byOwners = new Map<string, number[]>();
  for (const [root, list] of owning) {
    const key = `${list}`;
    const roots = byOwners.get(key);
    if (roots) roots.push(root);
    else byOwners.set(key, [root]);
  }
  return [...byOwners].map(([key, roots]) => {
    const unitOf = new Map(roots.map((root, unit) => [root, unit]));
    const slices = slicesOf(
      key.split(',').map((i) => owners[Number(i)]!),
      unitOf,
    );
    return {
      kind: 'channels',
      name: nameOf(slices),
      size: roots.length,
      slices,
      scopes: new Int32Array(roots.length),
      scopeCount: 1,
      residual: isResidual(slices, roots, residual),
      labels: roots.map((root) => [root]),
    };
  });
}

/** The boxes, each once. */
function distinctBoxes({ layouts }: Dependencies): Box[] {
  const seen = new Set<Int32Array>();
  return layouts.boxes.filter((box) => {
    if (seen.has(box.labels)) return false;
    seen.add(box.labels);
    return true;
  });
}
