import { UserError } from '../common/errors.ts';
import { globMatcher } from '../graph/glob.ts';
import type { PruningGroup } from './group.ts';

export interface PlanOptions {
  /** Share of the units of every group (or of all together, with `global`) that goes; in (0, 1). */
  ratio: number;
  /** Rank units across groups instead of taking the ratio from each. */
  global?: boolean;
  /** Share of every attention's whole heads that goes; default 0. */
  heads?: number;
  /** Leave the residual stream (the embedding) as it is. */
  bottleneck?: boolean;
  /** Keep a multiple of this many units; default 1. */
  roundTo?: number;
  /** Globs of parameters whose outputs are kept: `blocks.0.*`, `*.attn.qkv.weight`. */
  ignore?: readonly string[];
}

/** Which units of which groups go. */
export type Plan = ReadonlyMap<PruningGroup, readonly number[]>;

/** Units that leave a group together, one of each scope, and their mean score. */
interface Step {
  readonly group: number;
  readonly score: number;
  readonly units: readonly number[];
}

/**
 * Chooses the least important units. As Torch-Pruning counts, n units of which a ratio goes become
 * `floor(n * (1 - ratio))`, and with `roundTo` the next multiple below; but no group is emptied. Every
 * scope of a group (a head, with free head dimensions) loses equally many.
 * @param scores of each group's units, comparable across groups
 * @throws UserError on a ratio outside (0, 1), heads outside [0, 1), or a rounding that is no positive integer
 */
export function planPruning(
  groups: readonly PruningGroup[],
  scores: readonly Float64Array[],
  options: PlanOptions,
): Plan {
  checkOptions(options);
  const { ratio, heads = 0, global = false, roundTo = 1 } = options;
  const chosen = groups.map((group) =>
    wanted(group, options) ? stepsOf(group, scores[groups.indexOf(group)]!) : [],
  );
  const widths = groups.map((group, i) =>
    group.kind === 'heads' ? [] : chosen[i]!.map((s) => ({ ...s, group: i })),
  );
  const counts = global ? globalCounts(widths, ratio) : widths.map((steps) => removed(steps.length, ratio));
  const plan = new Map<PruningGroup, readonly number[]>();
  groups.forEach((group, i) => {
    const steps = chosen[i]!;
    const count =
      group.kind === 'heads'
        ? Math.min(Math.ceil(heads * steps.length), steps.length - 1)
        : rounded(steps.length, counts[i]!, roundTo);
    if (count > 0)
      plan.set(
        group,
        steps
          .slice(0, count)
          .flatMap((step) => step.units)
          .sort((a, b) => a - b),
      );
  });
  return plan;
}

function checkOptions({ ratio, heads = 0, roundTo = 1 }: PlanOptions): void {
  if (!(ratio > 0 && ratio < 1)) {
    throw new UserError(`pruning ratio ${ratio} is outside (0, 1): 0.25 prunes a quarter`);
  }
  if (!(heads >= 0 && heads < 1))
    throw new UserError(`heads ${heads} is outside [0, 1): 0.25 prunes a quarter`);
  if (!Number.isInteger(roundTo) || roundTo < 1) {
    throw new UserError(`can't round channels to ${roundTo}: give a whole number above 0`);
  }
}

const removed = (length: number, ratio: number): number => length - Math.trunc(length * (1 - ratio));

/** How many of `length` go so that a multiple of `roundTo` stays, at least one. */
function rounded(length: number, count: number, roundTo: number): number {
  if (count === 0) return 0;
  const kept = length - count;
  const multiple = kept - (kept % roundTo);
  return length - (multiple || Math.min(roundTo, length));
}

/** Units of all scopes by rank, the least important first; ties by index. */
function stepsOf(group: PruningGroup, scores: Float64Array): Step[] {
  const scopes = Array.from({ length: group.scopeCount }, () => [] as number[]);
  group.scopes.forEach((scope, unit) => {
    scopes[scope]!.push(unit);
  });
  for (const scope of scopes) scope.sort((a, b) => scores[a]! - scores[b]! || a - b);
  return (scopes[0] ?? []).map((_, rank) => {
    const units = scopes.map((scope) => scope[rank]!);
    return { group: 0, units, score: units.reduce((sum, unit) => sum + scores[unit]!, 0) / units.length };
  });
}

function globalCounts(steps: readonly (readonly Step[])[], ratio: number): number[] {
  const counts = steps.map(() => 0);
  const all = steps.flat().sort((a, b) => a.score - b.score);
  for (const { group } of all.slice(0, removed(all.length, ratio))) counts[group]!++;
  return counts;
}

function wanted(group: PruningGroup, { bottleneck, ignore = [] }: PlanOptions): boolean {
  if (group.residual && (bottleneck || group.kind === 'heads')) return false;
  const ignored = globMatcher(ignore);
  return !group.slices.some(({ parameter, role }) => role !== 'input' && ignored(parameter.name));
}
