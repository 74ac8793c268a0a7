import { UserError } from '../common/errors.ts';
import { assertMatches, globMatcher } from '../graph/glob.ts';
import type { Value } from '../graph/graph.ts';
import type { PruningGroup } from './group.ts';

/** Units of a group that leave it together, and how important they are. */
interface Ranked {
  readonly score: number;
}

/**
 * Whose units are ranked together: those of each group (`uniform`), of all groups (`global`), or of groups that are built
 * alike (`isomorphic`: "Isomorphic Pruning for Vision Models", ECCV 2024).
 */
export const rankings = ['uniform', 'global', 'isomorphic'] as const;

/** What is taken from groups. */
export interface Share {
  /** Share of the units that goes. */
  readonly ratio: number;
  readonly ranking: (typeof rankings)[number];
  /** Ratios of groups that have their own, by pattern. */
  readonly ratioFor: Readonly<Record<string, number>>;
}

/** Groups for which these are equal are ranked together. */
const rankedWith: Readonly<Record<Share['ranking'], (group: PruningGroup, i: number) => string | number>> = {
  uniform: (_, i) => i,
  global: () => '',
  isomorphic: structureOf,
};

/**
 * How a group is built, whatever its sizes: its parameters in order, what an axis is to whom, how many indices of it go with a
 * channel (four, where patches are merged), and which ops read them.
 */
function structureOf({ kind, size, slices }: PruningGroup): string {
  const parts = slices.map(({ parameter, axis, role, units }) => [
    kind === 'channels' ? units.filter((unit) => unit >= 0).length / size : 1,
    role,
    axis,
    parameter.shape?.length,
    ...readersOf(parameter),
  ]);
  return JSON.stringify([kind, parts]);
}

/** Ops that read a value, through transposition. */
const readersOf = (value: Value): string[] =>
  value.uses.flatMap(({ node }) => (node.op === 'Transpose' ? readersOf(node.output()) : node.op));

/** The tensor that gives a group its name. */
const namingTensor = ({ slices }: PruningGroup): string =>
  (slices.find(({ role }) => role === 'output') ?? slices[0])?.parameter.name ?? '';

/** The last of the patterns that a group's first tensor matches. */
const patternOf = (group: PruningGroup, patterns: readonly string[]): string | undefined =>
  patterns.findLast((pattern) => globMatcher([pattern])(namingTensor(group)));

/**
 * How many of the steps of each group go: those of least score, of the groups that are ranked together. As
 * Torch-Pruning counts, `n` of which a ratio goes become `floor(n * (1 - ratio))`.
 * @param steps of each group by rising score; none where it stays whole
 */
export function countsToGo(
  groups: readonly PruningGroup[],
  steps: readonly (readonly Ranked[])[],
  { ratio, ranking, ratioFor }: Share,
): number[] {
  const patterns = Object.keys(ratioFor);
  const rankedTogether = new Map<string, { ratio: number; members: number[] }>();
  groups.forEach((group, i) => {
    const pattern = patternOf(group, patterns);
    const key = JSON.stringify([rankedWith[ranking](group, i), pattern]);
    const found = rankedTogether.get(key);
    if (found) found.members.push(i);
    else rankedTogether.set(key, { ratio: pattern === undefined ? ratio : ratioFor[pattern]!, members: [i] });
  });
  const counts = groups.map(() => 0);
  for (const { ratio: share, members } of rankedTogether.values()) {
    const all = members
      .flatMap((group) => steps[group]!.map(({ score }) => ({ group, score })))
      .sort((a, b) => a.score - b.score);
    for (const { group } of all.slice(0, removed(all.length, share))) counts[group]!++;
  }
  return counts;
}

const removed = (length: number, ratio: number): number => length - Math.trunc(length * (1 - ratio));

/**
 * @throws UserError when a pattern of `ratioFor` matches no group's first tensor, naming the group that the tensors it
 *   does match go with, or patterns like it
 */
export function assertNamesGroups(
  ratioFor: Share['ratioFor'],
  groups: readonly PruningGroup[],
  tensors: readonly string[],
): void {
  const patterns = Object.keys(ratioFor);
  assertMatches('ratioFor', patterns, tensors);
  const widths = groups.filter(({ kind }) => kind !== 'heads');
  for (const pattern of patterns) {
    const matches = globMatcher([pattern]);
    if (widths.some((group) => matches(namingTensor(group)))) continue;
    const member = widths
      .flatMap((group) => group.slices.map(({ parameter, role }) => ({ name: parameter.name, role, group })))
      .find(({ name, role }) => role !== 'input' && matches(name));
    throw new UserError(
      member
        ? `ratioFor: no group is named after "${pattern}"; the outputs of ${member.name} go with those of ${namingTensor(member.group)}`
        : `ratioFor: of what "${pattern}" matches no channel can go`,
    );
  }
}
