import * as z from 'zod';
import { validated } from '../common/options.ts';
import { globMatcher } from '../graph/glob.ts';
import type { PruningGroup } from './group.ts';
import { countsToGo, rankings } from './ranking.ts';

/** Which channels go, and how many. */
export const planOptions = z.object({
  ratio: z.number().gt(0).lt(1).optional().meta({
    description: "share of every group's channels that goes",
    value: 'r',
  }),
  ratioFor: z.record(z.string(), z.number().min(0).lt(1)).default({}).meta({
    description:
      'another ratio for groups whose first tensor, as inspect --groups names them, matches a pattern; of several the last',
    value: 'glob=r',
  }),
  heads: z.number().min(0).lt(1).default(0).meta({
    description: "share of every attention's whole heads that goes",
    value: 'r',
  }),
  ranking: z.enum(rankings).optional().meta({
    description:
      'where the ratio is taken: in each group (uniform), over all (global), over groups that are built alike (isomorphic); left out: uniform',
    value: 'how',
  }),
  global: z.boolean().default(false).meta({
    description: 'the same as ranking global',
  }),
  bottleneck: z.boolean().default(false).meta({
    description: 'leave the embedding (the residual stream) as it is',
  }),
  roundTo: z
    .union([z.number().int().min(1), z.literal('auto')])
    .default(1)
    .meta({
      description:
        'keep a multiple of this many channels in every group; auto: a width that measured latencies say is fast',
      value: 'k',
    }),
  rounding: z.enum(['nearest', 'down']).default('nearest').meta({
    description: 'which multiple of roundTo: nearest to the ratio, or below it as Torch-Pruning takes it',
  }),
  ignore: z.array(z.string()).default([]).meta({
    description: 'parameters whose outputs are kept, as a pattern: blocks.0.*, *.attn.qkv.weight',
    value: 'glob',
  }),
});

export type PlanOptions = z.input<typeof planOptions>;

/** Which units of which groups go. */
export type Plan = ReadonlyMap<PruningGroup, readonly number[]>;

/** Units that leave a group together, one of each scope, and their mean score. */
export interface Step {
  readonly score: number;
  readonly units: readonly number[];
}

/**
 * Chooses the least important units. As Torch-Pruning counts, n units of which a ratio goes (without one:
 * none) become `floor(n * (1 - ratio))`, and with `roundTo` the nearest multiple, of two the larger; but no group is emptied. Every
 * scope of a group (a head, with free head dimensions) loses equally many.
 * @param scores of each group's units, comparable across groups
 * @param fast what `roundTo` auto makes of the width that a group would have
 * @throws UserError on an option out of its range
 */
export function planPruning(
  groups: readonly PruningGroup[],
  scores: readonly Float64Array[],
  input: PlanOptions,
  fast: FastWidth = (_, asked) => asked,
): Plan {
  const options = validated(planOptions, input);
  const chosen = groups.map((group, i) => (removable(group, options) ? stepsOf(group, scores[i]!) : []));
  const counts = countsAsked(groups, chosen, options);
  return planSteps(groups, chosen, (group, i) => {
    const { length } = chosen[i]!;
    if (group.kind === 'heads') return Math.min(counts[i]!, length - 1);
    if (options.roundTo !== 'auto') return rounded(length, counts[i]!, options.roundTo, options.rounding);
    return counts[i]! > 0 ? length - fast(group, Math.max(1, length - counts[i]!)) : 0;
  });
}

/** The width that a group gets in place of the one asked for. */
export type FastWidth = (group: PruningGroup, asked: number) => number;

/**
 * Leaves every group a width: the least important units of each scope go.
 * @param widths units of each scope that stay; where options keep a group whole, it stays so
 */
export function planWidths(
  groups: readonly PruningGroup[],
  scores: readonly Float64Array[],
  widths: readonly number[],
  input: PlanOptions,
): Plan {
  const options = validated(planOptions, input);
  const steps = groups.map((group, i) => (removable(group, options) ? stepsOf(group, scores[i]!) : []));
  return planSteps(groups, steps, (_, i) => Math.max(0, steps[i]!.length - widths[i]!));
}

/** The first steps of each group. */
function planSteps(
  groups: readonly PruningGroup[],
  steps: readonly (readonly Step[])[],
  countOf: (group: PruningGroup, i: number) => number,
): Plan {
  const plan = new Map<PruningGroup, readonly number[]>();
  groups.forEach((group, i) => {
    const gone = steps[i]!.slice(0, countOf(group, i)).flatMap((step) => step.units);
    if (gone.length > 0) {
      plan.set(
        group,
        gone.sort((a, b) => a - b),
      );
    }
  });
  return plan;
}

/** How many steps of each group would go by what is asked for, before any is rounded or kept for the group to have one. */
export function countsAsked(
  groups: readonly PruningGroup[],
  steps: readonly (readonly Step[])[],
  {
    ratio = 0,
    heads = 0,
    global = false,
    ranking = global ? 'global' : 'uniform',
    ratioFor = {},
  }: PlanOptions,
): number[] {
  const widths = groups.map((group, i) => (group.kind === 'heads' ? [] : steps[i]!));
  const counts = countsToGo(groups, widths, { ratio, ranking, ratioFor });
  return groups.map(({ kind }, i) => (kind === 'heads' ? Math.ceil(heads * steps[i]!.length) : counts[i]!));
}

/** How many of `length` go so that a multiple of `roundTo` stays, at least one. */
function rounded(length: number, count: number, roundTo: number, rounding: 'nearest' | 'down'): number {
  if (count === 0) return 0;
  const round = rounding === 'down' ? Math.floor : Math.round;
  const multiple = Math.min(round((length - count) / roundTo), Math.floor(length / roundTo));
  return Math.max(0, length - Math.max(1, multiple) * roundTo);
}

/** Units of all scopes by rank, the least important first; ties by index. */
export function stepsOf(group: PruningGroup, scores: Float64Array): Step[] {
  const scopes = Array.from({ length: group.scopeCount }, () => [] as number[]);
  group.scopes.forEach((scope, unit) => {
    scopes[scope]!.push(unit);
  });
  for (const scope of scopes) scope.sort((a, b) => scores[a]! - scores[b]! || a - b);
  return (scopes[0] ?? []).map((_, rank) => {
    const units = scopes.map((scope) => scope[rank]!);
    return { units, score: units.reduce((sum, unit) => sum + scores[unit]!, 0) / units.length };
  });
}

/** Whether options let units of a group go. */
export function removable(
  group: PruningGroup,
  { bottleneck, ignore = [] }: Pick<PlanOptions, 'bottleneck' | 'ignore'>,
): boolean {
  if (group.residual && (bottleneck || group.kind === 'heads')) return false;
  const ignored = globMatcher(ignore);
  return !group.slices.some(({ parameter, role }) => role !== 'input' && ignored(parameter.name));
}
