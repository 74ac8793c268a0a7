import type { Dependencies } from './dependency.ts';
import type { GroupMaker, HeadDims, PruningGroup } from './group.ts';
import { Labels } from './labels.ts';
import { type Box, product } from './layout.ts';

/** The boxes, each once. */
export function distinctBoxes({ layouts }: Dependencies): Box[] {
  const seen = new Set<Int32Array>();
  return layouts.boxes.filter((box) => {
    if (seen.has(box.labels)) return false;
    seen.add(box.labels);
    return true;
  });
}

/** Boxes that share elements or outer indices belong to one attention. */
export function connectBoxes(boxes: readonly Box[], labels: Labels): Box[][] {
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

/** The elements of a factor by outer index: a row for each, in the order of the inner axis. */
function rowsOf(box: Box): Int32Array[] {
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
 * are taken; an attention of which those don't either, or that has a pinned element, gives no group. A box of
 * which all elements are pinned (weights behind a softmax) asks nothing of the others.
 */
export function headDimGroups(
  boxes: readonly Box[],
  maker: GroupMaker,
  labels: Labels,
  outer: ReadonlySet<number>,
  headDims: HeadDims,
): PruningGroup[] {
  const rows = boxes
    .filter((box) => !box.labels.every((label) => labels.isPinned(label)))
    .flatMap(rowsOf)
    .map((row) => row.map((label) => labels.find(label)));
  if (rows.length === 0) return [];
  const elements = new Set(rows.flatMap((row) => [...row]));
  for (const root of elements) if (root === Labels.pinned || outer.has(root)) return [];
  const free = [...elements].map((root) => [root]);
  const units = headDims === 'free' && scopesOf(rows, free) ? free : tiedUnits(rows);
  const scopes = scopesOf(rows, units);
  return scopes ? [maker.group('headDims', units, scopes)] : [];
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
export function headGroups(boxes: readonly Box[], maker: GroupMaker, labels: Labels): PruningGroup[] {
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
    const units = [...heads].map((): number[] => []);
    for (const [root, unit] of unitOf) units[unit]!.push(root);
    return [maker.group('heads', units, undefined, elements)];
  });
}

/** Representatives of outer indices, those of one axis together, over all boxes. */
export function outerAxes(boxes: readonly Box[], labels: Labels): Set<number>[] {
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
