import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import { type Progress, silent } from '../common/progress.ts';
import { assertMatches } from '../graph/glob.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { applyPlan, type Kept } from './apply.ts';
import { branchOptions, type GoneBranch, shortened } from './branches.ts';
import { type Budget, planForBudget } from './budget.ts';
import { checkPruned, type PruningCheck } from './check.ts';
import { compensations } from './compensate.ts';
import { compensated } from './compensated.ts';
import type { PruningGroup } from './group.ts';
import { findGroups, type Grouping, groupOptions } from './groups.ts';
import { importanceOptions } from './importance.ts';
import type { LatencyReport } from './latency-budget.ts';
import type { LatencyMeter } from './latency-table.ts';
import type { LeftWhole } from './left-whole.ts';
import { type Plan, planOptions } from './plan.ts';
import { planNotes, someOf } from './plan-notes.ts';
import { assertNamesGroups } from './ranking.ts';
import { type PruneData, scoreChannels } from './score-channels.ts';
import { criterionIn, type ScoreRecord, scoreRecord, scoresIn } from './score-record.ts';

/** How channels are chosen. One thing must say how much goes; `heads` goes together with either of the others. */
export const pruneOptions = z
  .strictObject({
    ...planOptions.shape,
    targetMacs: z.number().gt(0).optional().meta({
      description: 'choose the ratio so that at most this many GMACs are left, and hardly fewer',
      value: 'g',
    }),
    targetLatency: z.number().gt(0).optional().meta({
      description:
        'choose the widths so that one image takes this long, by measured latencies, and the most importance is kept',
      value: 'ms',
    }),
    ...importanceOptions.shape,
    compensate: z.enum(compensations).default('none').meta({
      description:
        'what is done by images about what went: nothing; batch norms take the statistics that their inputs have now; besides, layers take the mean of inputs that went into the bias; or are refitted to the inputs that are left (ridge regression)',
    }),
    check: z.boolean().default(true).meta({
      description: 'check that what is left computes on noise what the model does with what goes masked',
    }),
    ...branchOptions.shape,
    ...groupOptions.shape,
  })
  .refine((options) => saysHowMuch(options) || options.branches, {
    error:
      'how much is to be pruned? give ratio, ratioFor, heads, branches, targetMacs or targetLatency (--ratio, --ratio-for, --heads, --branches, --target-macs, --target-latency)',
  })
  .refine(({ ratio, targetMacs }) => ratio === undefined || targetMacs === undefined, {
    error: 'ratio and targetMacs both say how many channels go: give one of them',
  })
  .refine(
    (options) => !options.targetLatency || !(options.ratio || options.targetMacs || hasRatios(options)),
    {
      error: 'targetLatency chooses the widths by itself: leave out ratio, ratioFor and targetMacs',
    },
  )
  .refine(({ global, ranking }) => !global || (ranking ?? 'global') === 'global', {
    error: 'global and ranking say different things: give one of them',
  });

const hasRatios = ({ ratioFor }: { ratioFor: Readonly<Record<string, number>> }): boolean =>
  Object.values(ratioFor).some((ratio) => ratio > 0);

const saysHowMuch = (
  options: Pick<Budget, 'ratio' | 'heads' | 'targetMacs' | 'targetLatency'> & Parameters<typeof hasRatios>[0],
): boolean =>
  [options.ratio, options.heads, options.targetMacs, options.targetLatency].some(Boolean) ||
  hasRatios(options);

export type PruneOptions = z.input<typeof pruneOptions> & {
  /** Of `random` importance. */
  seed?: number;
  /** Threads of the engine. */
  threads?: number;
  /** Taken instead of computing some: `PruneResult.scores` of the same model. */
  scores?: ScoreRecord | undefined;
  /** Who measures, for `targetLatency` and `roundTo` auto. */
  latency?: LatencyMeter | undefined;
};

/** A group, and how much of it a plan keeps. */
export interface GroupSummary {
  /** The first parameter that its units are outputs of: `blocks.0.mlp.fc1`. */
  name: string;
  kind: PruningGroup['kind'];
  /** Channels, dimensions of a head, or heads. */
  units: number;
  kept: number;
  /** Parameters with slices in it. */
  parameters: string[];
}

export interface PruneResult {
  graph: Graph;
  kept: Kept;
  groups: GroupSummary[];
  /** The ratio that was applied: the one asked for, or the one found for `targetMacs`; 0 when only heads went. */
  ratio: number;
  /** What the units of each group were worth. */
  scores: ScoreRecord;
  /** Residual branches that went whole, before any channels; left out when none was asked to. */
  branches?: GoneBranch[];
  /** How it compares with the model that it was made from, before any compensation; undefined when nobody looked. */
  check?: PruningCheck;
  /** With `targetLatency` or `roundTo` auto. */
  latency?: LatencyReport;
}

/**
 * Prunes a graph: takes out residual branches where asked to, then finds its groups, scores their units, removes the least important. The graph given
 * is left as it is; the new one's parameters are sliced when they are read.
 *
 * @param data images, for importances that look at some and for compensation
 * @throws UserError on options out of range, missing images, scores of another model, a graph without anything to prune, or a
 *   target that can't be met
 * @throws Error when what is left does not compute what it should
 */
export async function prune(
  engine: Engine,
  whole: Graph,
  { seed, threads, scores: given, latency: meter, ...input }: PruneOptions,
  data?: PruneData,
  progress: Progress = silent,
): Promise<PruneResult> {
  const options = validated(pruneOptions, input);
  const surroundings = { threads, data, progress };
  const depth =
    options.branches === undefined
      ? undefined
      : await shortened(engine, whole, options.branches, surroundings);
  const graph = depth?.graph ?? whole;
  const grouping = findGroups(graph, options);
  const tensors = [...graph.constants.keys()];
  assertMatches('ignore', options.ignore, tensors);
  assertNamesGroups(options.ratioFor, grouping.groups, tensors);
  if (saysHowMuch(options) && grouping.groups.length === 0)
    throw new UserError('the model has no channels that can be pruned');
  for (const op of grouping.unknownOps) {
    progress.note(`${op} has no dependency rule: channels it reads are kept`);
  }
  const scoring = { ...options, seed, threads };
  const record =
    given ??
    scoreRecord(
      grouping.groups,
      options,
      await scoreChannels(engine, graph, grouping.groups, scoring, data, progress),
    );
  const scores = scoresIn(record, grouping.groups);
  if (given) progress.note(`importance as the scores have it: ${criterionIn(record)}`);
  for (const line of leftWholeNotes(grouping.leftWhole)) progress.note(line);
  const budget = { graph, groups: grouping.groups, scores, options, meter, progress };
  const { plan, ratio, latency } = await planForBudget(budget);
  for (const line of planNotes(grouping.groups, scores, plan, { ...options, ratio })) progress.note(line);
  const pruned = applyPlan(graph, plan);
  const check =
    options.check && plan.size > 0 ? { check: await checkPruned(engine, graph, plan, pruned.graph) } : {};
  for (const why of check.check?.unchecked ?? []) progress.note(`could not be checked: ${why}`);
  await compensated(engine, graph, pruned, options.compensate, surroundings);
  const groups = summarize(grouping, plan);
  const branches = depth ? { branches: depth.gone } : {};
  return {
    ...pruned,
    groups,
    ratio: ratio ?? 0,
    scores: record,
    ...branches,
    ...check,
    ...(latency && { latency }),
  };
}

/** Layers that stay whole, a line a reason. */
function leftWholeNotes(layers: readonly LeftWhole[]): string[] {
  const byReason = new Map<string, string[]>();
  for (const { name, side, why } of layers) {
    if (side === 'outputs') byReason.set(why, [...(byReason.get(why) ?? []), name]);
  }
  return [...byReason].map(([why, names]) => {
    return `left whole: ${someOf(names)}: ${why}`;
  });
}

/** Every group, and what a plan keeps of it. */
export const summarize = ({ groups }: Grouping, plan: Plan): GroupSummary[] =>
  groups.map((group) => {
    const units = group.size / group.scopeCount;
    return {
      name: group.name,
      kind: group.kind,
      units,
      kept: units - (plan.get(group)?.length ?? 0) / group.scopeCount,
      parameters: [...new Set(group.slices.map(({ parameter }) => parameter.name))],
    };
  });
