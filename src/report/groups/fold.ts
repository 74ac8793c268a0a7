import { type CoupledAxis, type GroupDescription, ownNumber } from '../../prune/describe-groups.ts';
import type { LeftWhole } from '../../prune/left-whole.ts';

/** Things of a model that are alike, told once. */
export interface Folded<T> {
  /** Their names, short: `blocks.0-11.mlp.fc1`. */
  readonly name: string;
  readonly members: readonly [T, ...T[]];
}

const patternOf = (name: string): string => name.replace(ownNumber, '*');

/** `0-3`, `0,2`, `5`; of ascending numbers. */
function ranges(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run && number === run[1] + 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join();
}

/**
 * Names without repetition, in the order of their patterns: those that differ in one number between dots become one with a range.
 * Nothing is said that was not there: `a.0.b.1` and `a.1.b.0` stay apart.
 */
export function foldNames(names: readonly string[]): string[] {
  const byPattern = groupBy([...new Set(names)], patternOf);
  return [...byPattern].flatMap(([pattern, alike]) => {
    let rows = alike.map((name) => (name.match(ownNumber) ?? []).map(String));
    for (let at = (rows[0]?.length ?? 0) - 1; at >= 0; at--) {
      const rest = groupBy(rows, (row) => JSON.stringify(row.with(at, '')));
      rows = [...rest.values()].map((same) => {
        const numbers = same.map((row) => Number(row[at])).sort((a, b) => a - b);
        return same[0]!.with(at, ranges(numbers));
      });
    }
    const parts = pattern.split('*');
    return rows.map((row) => parts.map((part, i) => part + (row[i] ?? '')).join(''));
  });
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

/** Things of which the names differ in numbers only, and that are alike. */
export function folded<T extends { name: string }>(
  items: readonly T[],
  alike: (item: T) => unknown,
): Folded<T>[] {
  const groups = groupBy(items, (item) => JSON.stringify([patternOf(item.name), alike(item)]));
  return [...groups.values()].map((members) => ({
    name: foldNames(members.map(({ name }) => name)).join(', '),
    members: members as [T, ...T[]],
  }));
}

/** Groups that are alike in all but the numbers in their names. */
export const foldGroups = (groups: readonly GroupDescription[]): Folded<GroupDescription>[] =>
  folded(groups, ({ kind, units, heads, headDims, macs, couples, constraints }) => [
    kind,
    units,
    heads,
    headDims,
    macs,
    constraints.map(patternOf),
    [...new Set(couples.map((axis) => patternOf(axisText(axis))))],
  ]);

/** What stays whole, told once for layers of the same name and reason. */
export const foldLeftWhole = (layers: readonly LeftWhole[]): Folded<LeftWhole>[] =>
  folded(layers, ({ side, channels, kind, why, at }) => [side, channels, kind, why, at && patternOf(at)]);

/** Each by itself. */
export const unfolded = <T extends { name: string }>(items: readonly T[]): Folded<T>[] =>
  items.map((item) => ({ name: item.name, members: [item] }));

/** What a group couples, by role, axes of parameters that differ in numbers only told once: `blocks.0-11.mlp.fc1.weight[0]`. */
export function coupledByRole({
  members,
}: Folded<GroupDescription>): { role: CoupledAxis['role']; axes: string[] }[] {
  const couples = members.flatMap(({ couples }) => couples);
  return Object.keys(roleTitles).flatMap((role) => {
    const axes = couples.filter((axis) => axis.role === role);
    return axes.length ? [{ role: role as CoupledAxis['role'], axes: foldNames(axes.map(axisText)) }] : [];
  });
}

/** `blocks.0.attn.qkv.weight[0]`, with the share that is in the group where it is not the whole axis. */
const axisText = ({ parameter, axis, indices, length }: CoupledAxis): string =>
  `${parameter}[${axis}]${indices === length ? '' : ` (${indices} of ${length})`}`;

/** Roles in words, in the order in which they are told. */
export const roleTitles: Readonly<Record<CoupledAxis['role'], string>> = {
  output: 'made by',
  input: 'read by',
  normScale: 'scaled by',
  normShift: 'shifted by',
  added: 'added',
  other: 'also in',
};

/** `192 channels`, `3 heads`, `3 heads x 64 dimensions`. */
export function unitsText({ kind, units, heads, headDims }: GroupDescription): string {
  const number = (count: number, one: string) =>
    `${count.toLocaleString('en')} ${one}${count === 1 ? '' : 's'}`;
  if (kind === 'channels') return number(units, 'channel');
  if (kind === 'headDims') return `${number(heads!, 'head')} x ${number(units, 'dimension')}`;
  return `${number(units, 'head')} of ${headDims.join(' / ')}`;
}

/** What a choice of units must keep to, told once for groups that are alike. */
export const rulesOf = ({ members }: Folded<GroupDescription>): string[] =>
  members[0].constraints.flatMap((_, i) => foldNames(members.map(({ constraints }) => constraints[i]!)));
