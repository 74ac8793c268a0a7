import type { Graph, Value } from '../graph/graph.ts';
import { type Dependencies, findDependencies } from './dependency.ts';
import { Labels } from './labels.ts';
import type { Box, Factor } from './layout.ts';
import { type Role, rolesOf } from './roles.ts';

/** Slices of one axis of a parameter that belong to a group. */
export interface GroupSlice {
  readonly parameter: Value;
  readonly axis: number;
  /** For each index of the axis the unit it goes with; -1: with none of this group. */
  readonly units: Int32Array;
  readonly role: Role;
}

/**
 * Units that are alternatives to each other. Found by structure, not by name: `channels` are free of
 * any box (embedding, MLP hidden units); `headDims` are elements of a box such as `12 x 64`, of which
 * every outer index must lose as many; `heads` are the outer indices as wholes.
 */
export interface PruningGroup {
  readonly kind: 'channels' | 'headDims' | 'heads';
  /** After the first parameter that its units are outputs of. */
  readonly name: string;
  readonly size: number;
  readonly slices: readonly GroupSlice[];
  /** For each unit its scope: every scope of a group must lose as many units. Channels have one. */
  readonly scopes: Int32Array;
  readonly scopeCount: number;
  /** Several branches are added into these channels (the embedding). */
  readonly residual: boolean;
  /** For each unit the labels (representatives) that it is made of. */
  readonly labels: readonly (readonly number[])[];
}

export interface GroupOptions {
  /**
   * `tied`: the same dimension indices leave every head, and queries, keys and values alike.
   * `free`: heads choose for themselves, values apart from queries and keys.
   */
  headDims?: HeadDims;
}

export type HeadDims = 'tied' | 'free';

export interface Grouping {
  readonly groups: readonly PruningGroup[];
  /** The sweeps that the groups' labels are of: of channels and head dimensions, and of heads. */
  readonly elements: Dependencies;
  readonly wholes: Dependencies;
}

/** The prunable groups of a graph. Shapes must have been inferred. The classifier's outputs are in none. */
export function findGroups(graph: Graph, { headDims = 'tied' }: GroupOptions = {}): Grouping {
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

interface Owner {
  readonly parameter: Value;
  readonly axis: number;
  readonly role: Role;
  /** The representative of each index. */
  readonly roots: Int32Array;
}

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

/** Slices of the owners for units given as representative -> unit. */
function slicesOf(owners: readonly Owner[], unitOf: ReadonlyMap<number, number>): GroupSlice[] {
  return owners.flatMap(({ parameter, axis, role, roots }) => {
    const units = roots.map((root) => unitOf.get(root) ?? -1);
    return units.some((unit) => unit >= 0) ? [{ parameter, axis, role, units }] : [];
  });
}

/** Channels into which branches are added, outputs of more than one layer. */
function isResidual(
  slices: readonly GroupSlice[],
  roots: Iterable<number>,
  residual: ReadonlySet<number>,
): boolean {
  if (slices.filter((slice) => slice.role === 'output').length < 2) return false;
  for (const root of roots) if (residual.has(root)) return true;
  return false;
}

function nameOf(slices: readonly GroupSlice[]): string {
  const named = slices.find((slice) => slice.role === 'output') ?? slices[0];
  return named?.parameter.name.replace(/\.weight$/, '') ?? '';
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

/** Boxes that share elements or outer indices belong to one attention. */
function connectBoxes(boxes: readonly Box[], labels: Labels): Box[][] {
  const firstWith = new Map<number, number>();
  const links = new Labels();
  const numbers = links.fresh(boxes.length);
  boxes.forEach((box, i) => {
    for (const list of [box.labels, ...box.outer]) {
      for (const label of list ?? []) {
        const root = labels.find(label);
        if (root === Labels.pinned) continue;
        const first = firstWith.get(root);
        if (first === undefined) firstWith.set(root, i);
        else links.unite(numbers[first]!, numbers[i]!);
      }
    }
  });
  const sets = new Map<number, Box[]>();
  boxes.forEach((box, i) => {
    const root = links.find(numbers[i]!);
    const set = sets.get(root);
    if (set) set.push(box);
    else sets.set(root, [box]);
  });
  return [...sets.values()];
}

const product = (dims: readonly number[]) => dims.reduce((p, d) => p * d, 1);

/** The elements of a factor by outer index: a row for each, in the order of the inner axis. */
export function rowsOf(box: Factor): Int32Array[] {
  const stride = product(box.dims.slice(box.inner + 1));
  const length = box.dims[box.inner]!;
  const rows: Int32Array[] = [];
  for (let start = 0; start < box.labels.length; start++) {
    if (Math.floor(start / stride) % length !== 0) continue;
    rows.push(Int32Array.from({ length }, (_, i) => box.labels[start + i * stride]!));
  }
  return rows;
}

/**
 * The elements of an attention's boxes. Rows that share elements choose together; among those, units
 * with the same place in all rows are one scope. Every row is then made of whole scopes, so equal
 * numbers per scope keep every box a box. Where free elements don't fall into equal scopes, tied ones
 * are taken; an attention of which those don't either, or that has a pinned element, gives no group.
 */
function headDimGroups(
  boxes: readonly Box[],
  owners: readonly Owner[],
  labels: Labels,
  outer: ReadonlySet<number>,
  residual: ReadonlySet<number>,
  headDims: HeadDims,
): PruningGroup[] {
  const rows = boxes.flatMap(rowsOf).map((row) => row.map((label) => labels.find(label)));
  const elements = new Set(rows.flatMap((row) => [...row]));
  for (const root of elements) if (root === Labels.pinned || outer.has(root)) return [];
  const free = [...elements].map((root) => [root]);
  const units = headDims === 'free' && scopesOf(rows, free) ? free : tiedUnits(rows);
  const scopes = scopesOf(rows, units);
  if (!scopes) return [];
  const slices = slicesOf(owners, unitNumbers(units));
  return [
    {
      kind: 'headDims',
      name: nameOf(slices),
      size: units.length,
      slices,
      ...scopes,
      residual: isResidual(slices, elements, residual),
      labels: units,
    },
  ];
}

const unitNumbers = (units: readonly (readonly number[])[]) =>
  new Map(units.flatMap((unit, i) => unit.map((root): [number, number] => [root, i])));

/** The same place in every row of a length is one unit. */
function tiedUnits(rows: readonly Int32Array[]): number[][] {
  const links = new Map<number, number>();
  const find = (root: number): number => {
    const next = links.get(root) ?? root;
    return next === root ? root : find(next);
  };
  const models = new Map<number, Int32Array>();
  for (const row of rows) {
    const model = models.get(row.length);
    if (!model) models.set(row.length, row);
    row.forEach((root, i) => {
      const a = find(root);
      const b = find((model ?? row)[i]!);
      if (a !== b) links.set(Math.max(a, b), Math.min(a, b));
    });
  }
  const units = new Map<number, number[]>();
  for (const root of new Set(rows.flatMap((row) => [...row]))) {
    const unit = units.get(find(root));
    if (unit) unit.push(root);
    else units.set(find(root), [root]);
  }
  return [...units.values()];
}

/** Units by the places they have in the rows; undefined when the scopes differ in size. */
function scopesOf(
  rows: readonly Int32Array[],
  units: readonly (readonly number[])[],
): { scopes: Int32Array; scopeCount: number } | undefined {
  const unitOf = unitNumbers(units);
  const places = units.map(() => new Map<number, number>());
  rows.forEach((row, i) => {
    for (const root of row) {
      const counts = places[unitOf.get(root)!]!;
      counts.set(i, (counts.get(i) ?? 0) + 1);
    }
  });
  const numbers = new Map<string, number>();
  const scopes = Int32Array.from(places, (counts) => {
    const key = [...counts].map(([row, times]) => `${row}:${times}`).join();
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    return number;
  });
  const sizes = new Int32Array(numbers.size);
  for (const scope of scopes) sizes[scope]!++;
  return sizes.every((size) => size === sizes[0]) ? { scopes, scopeCount: numbers.size } : undefined;
}

/**
 * Outer indices of an attention's boxes as units: a head takes with it its elements in every box, and
 * what belongs to the head as a whole (a bias per head). Only axes of which every index is free are
 * alternatives (queries, keys and values are not), no two heads share an element, and in every box a
 * head is whole outer indices.
 */
function headGroups(
  boxes: readonly Box[],
  owners: readonly Owner[],
  labels: Labels,
  residual: ReadonlySet<number>,
): PruningGroup[] {
  const elements = new Set(boxes.flatMap((box) => [...box.labels].map((label) => labels.find(label))));
  return outerAxes(boxes, labels).flatMap((heads) => {
    const unitOf = new Map([...heads].map((head, unit) => [head, unit]));
    if ([...heads].some((head) => head === Labels.pinned || elements.has(head))) return [];
    for (const [head, element] of elementsOfHeads(boxes, labels, heads)) {
      const unit = unitOf.get(head)!;
      if (element === Labels.pinned || (unitOf.get(element) ?? unit) !== unit) return [];
      unitOf.set(element, unit);
    }
    if (!boxes.every((box) => wholeIndices(box, labels, heads, unitOf))) return [];
    const slices = slicesOf(owners, unitOf);
    const units = [...heads].map((): number[] => []);
    for (const [root, unit] of unitOf) units[unit]!.push(root);
    return [
      {
        kind: 'heads',
        name: nameOf(slices),
        size: heads.size,
        slices,
        scopes: new Int32Array(heads.size),
        scopeCount: 1,
        residual: isResidual(slices, elements, residual),
        labels: units,
      },
    ];
  });
}

/** Representatives of outer indices, those of one axis together, over all boxes. */
function outerAxes(boxes: readonly Box[], labels: Labels): Set<number>[] {
  const axes: Set<number>[] = [];
  for (const axis of boxes.flatMap((box) => box.outer)) {
    if (!axis) continue;
    const roots = new Set([...axis].map((label) => labels.find(label)));
    const same = axes.find((known) => [...roots].some((root) => known.has(root)));
    if (same) for (const root of roots) same.add(root);
    else axes.push(roots);
  }
  return axes;
}

/** Outer representative of an element at one position of its box. */
const outerRoot = (box: Box, labels: Labels, position: number, element: number): number => {
  const stride = product(box.dims.slice(position + 1));
  return labels.find(box.outer[position]![Math.floor(element / stride) % box.dims[position]!]!);
};

function* elementsOfHeads(
  boxes: readonly Box[],
  labels: Labels,
  heads: ReadonlySet<number>,
): Generator<[head: number, element: number]> {
  for (const box of boxes) {
    for (const [position, axis] of box.outer.entries()) {
      if (!axis || !heads.has(labels.find(axis[0]!))) continue;
      for (const [e, label] of box.labels.entries()) {
        yield [outerRoot(box, labels, position, e), labels.find(label)];
      }
    }
  }
}

/** Whether every element of a head in this box lies in outer indices that are the head's. */
function wholeIndices(
  box: Box,
  labels: Labels,
  heads: ReadonlySet<number>,
  unitOf: ReadonlyMap<number, number>,
): boolean {
  const position = box.outer.findIndex((axis) => axis && heads.has(labels.find(axis[0]!)));
  return box.labels.every((label, e) => {
    const unit = unitOf.get(labels.find(label));
    if (unit === undefined) return true;
    return position >= 0 && unitOf.get(outerRoot(box, labels, position, e)) === unit;
  });
}
