import type { PruningGroup } from './group.ts';
import { countsAsked, type Plan, type PlanOptions, removable, stepsOf } from './plan.ts';

/**
 * Where a plan keeps more of a group than its ratio says, a line a reason: a group that would have lost everything, or that
 * rounding leaves whole.
 */
export function planNotes(
  groups: readonly PruningGroup[],
  scores: readonly Float64Array[],
  plan: Plan,
  options: PlanOptions,
): string[] {
  const steps = groups.map((group, i) => (removable(group, options) ? stepsOf(group, scores[i]!) : []));
  const asked = countsAsked(groups, steps, options);
  const reasons = new Map<string, string[]>();
  groups.forEach((group, i) => {
    if (asked[i] === 0) return;
    const units = steps[i]!.length;
    const kept = units - (plan.get(group)?.length ?? 0) / group.scopeCount;
    const reason = whyMore(group, { units, asked: asked[i]!, kept }, options);
    if (reason) reasons.set(reason, [...(reasons.get(reason) ?? []), group.name]);
  });
  return [...reasons].map(([reason, names]) => `${someOf(names)}: ${reason}`);
}

function whyMore(
  { kind }: PruningGroup,
  { units, asked, kept }: { units: number; asked: number; kept: number },
  { roundTo }: PlanOptions,
): string | undefined {
  const what = { channels: 'channels', headDims: 'head dimensions', heads: 'heads' }[kind];
  if (asked >= units) return `would lose all ${units} ${what}; ${kept} stay`;
  if (kept < units) return undefined;
  return `left whole: of ${units} ${what} ${asked} would go, but ${roundTo === 'auto' ? 'that is no faster' : `they are to be a multiple of ${roundTo}`}`;
}

/** Names that a note gives. */
const named = 6;

/** The first names, and how many there are besides. */
export const someOf = (names: readonly string[]): string =>
  `${names.slice(0, named).join(', ')}${names.length > named ? ` and ${names.length - named} more` : ''}`;
