import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import { applyPlan } from './apply.ts';
import type { PruningGroup } from './group.ts';
import { fastWidth, LatencyModel, latencyRequests, widthOf } from './latency-model.ts';
import { modelKey, piecesOf } from './latency-pieces.ts';
import type { LatencyMeter } from './latency-table.ts';
import { type WidthChoice, widthsForLatency } from './latency-target.ts';
import { type Plan, type PlanOptions, planPruning, planWidths, removable, stepsOf } from './plan.ts';

/** Groups of one width, and how it came about. */
export interface ChosenWidth {
  /** Names of the groups. */
  groups: string[];
  kind: PruningGroup['kind'];
  units: number;
  /** Units that were asked to stay, before the width was moved to a fast one. */
  asked?: number;
  kept: number;
}

/** What is known of the time that a pruned model takes. */
export interface LatencyReport {
  /** What was timed, and on what: `int8, onnxruntime 1.30.0, 2 threads, AMD EPYC`. */
  about: string;
  /** Where the table is. */
  table: string;
  /** Milliseconds that were asked for; null with `roundTo` auto. */
  target: number | null;
  /** Milliseconds before pruning: measured, or where the device is not at hand predicted. */
  dense: number;
  /** Milliseconds by the table, scaled by what measurements said. */
  predicted: number;
  /** The same of the widths that were asked for; null with a target. */
  predictedAsked: number | null;
  /** Milliseconds of the pruned model; null where the device is not at hand, or nothing was to be met. */
  measured: number | null;
  /** What each try was predicted to take, and took. */
  tries: { predicted: number; measured: number }[];
  widths: ChosenWidth[];
}

/** What latencies of a model are predicted by. */
export interface LatencyOf {
  readonly graph: Graph;
  readonly groups: readonly PruningGroup[];
  readonly meter: LatencyMeter;
  readonly model: LatencyModel;
  /** Milliseconds before pruning. */
  readonly dense: number;
}

/** Has measured what a model's latency depends on. @throws UserError as the meter */
export async function latencyOf(
  graph: Graph,
  groups: readonly PruningGroup[],
  meter: LatencyMeter,
): Promise<LatencyOf> {
  const pieces = await piecesOf(graph, groups);
  const key = await modelKey(pieces);
  const table = await meter.table(latencyRequests(graph, pieces, groups));
  const model = new LatencyModel(pieces, groups, table);
  const known = meter.whole ? await meter.whole(graph, { key }) : table.models[key];
  return { graph, groups, meter, model, dense: known ?? model.milliseconds(groups.map(widthOf)) };
}

/** Milliseconds that a plan leaves, by what a model took before it. */
function predicted({ groups, model, dense }: LatencyOf, plan: Plan): number {
  const whole = groups.map(widthOf);
  const left = groups.map((group, i) => whole[i]! - (plan.get(group)?.length ?? 0) / group.scopeCount);
  return (dense * model.milliseconds(left)) / model.milliseconds(whole);
}

/** For `roundTo` auto: the fast width nearest to one that is asked for. */
export function fastWidths({ groups, model }: LatencyOf): (group: PruningGroup, asked: number) => number {
  return (group, asked) => fastWidth(model.timed(groups.indexOf(group)), widthOf(group), asked);
}

/** What `roundTo` auto made of a plan, beside the plan without it. */
export function reportRounding(latency: LatencyOf, asked: Plan, plan: Plan): LatencyReport {
  const { groups, meter, dense } = latency;
  const widths = groups.flatMap((group): ChosenWidth[] => {
    const left = (of: Plan) => widthOf(group) - (of.get(group)?.length ?? 0) / group.scopeCount;
    if (!asked.has(group)) return [];
    const { name, kind } = group;
    return [{ groups: [name], kind, units: widthOf(group), asked: left(asked), kept: left(plan) }];
  });
  return {
    about: meter.about,
    table: meter.source,
    target: null,
    dense,
    predicted: predicted(latency, plan),
    predictedAsked: predicted(latency, asked),
    measured: null,
    tries: [],
    widths: together(widths),
  };
}

/** Groups of the same sizes in one entry. */
function together(widths: readonly ChosenWidth[]): ChosenWidth[] {
  const found = new Map<string, ChosenWidth>();
  for (const { groups, ...sizes } of widths) {
    const key = JSON.stringify(sizes);
    const known = found.get(key);
    if (known) known.groups.push(...groups);
    else found.set(key, { groups: [...groups], ...sizes });
  }
  return [...found.values()];
}

/** A try that is off by less is not improved on. */
const closeEnough = 0.02;
const mostTries = 4;

/**
 * A plan of which the model takes as many milliseconds as asked for, with the widths that keep the most importance:
 * predicted by the table, measured, and where it is off by more than 2 % predicted anew.
 *
 * Importance lost is, for each group, minus the logarithm of the share of its units' scores that stays, weighed by the
 * parameters in it. Sizes multiply to what a layer can do, and logarithms add up; a group that is nearly gone costs ever
 * more; and where time is in proportion to parameters and scores are alike, all groups lose the same share.
 * @throws UserError when the model is faster already, or no widths are that fast
 */
export async function planForLatency(
  latency: LatencyOf,
  scores: readonly Float64Array[],
  target: number,
  options: PlanOptions,
  progress: Progress,
): Promise<{ plan: Plan; report: LatencyReport }> {
  const { graph, groups, meter, model, dense } = latency;
  if (target >= dense) {
    throw new UserError(
      `the model takes ${dense.toFixed(2)} ms already, no more than the ${target} asked for`,
    );
  }
  const whole = groups.map(widthOf);
  const choices = choicesOf(latency, scores, options);
  const fixed = planPruning(groups, scores, options);
  const start = groups.map((group, i) => whole[i]! - (fixed.get(group)?.length ?? 0) / group.scopeCount);
  let scale = dense / model.milliseconds(whole);
  const tries: (LatencyReport['tries'][number] & { plan: Plan; widths: number[] })[] = [];
  for (;;) {
    const widths = widthsForLatency(model, choices, start, target, scale);
    const plan = planWidths(groups, scores, widths, options);
    const expected = scale * model.milliseconds(widths);
    const beside = { graph, milliseconds: dense };
    const measured = await meter.whole?.(applyPlan(graph, plan).graph, { beside });
    tries.push({ predicted: expected, measured: measured ?? expected, plan, widths });
    if (measured === undefined || Math.abs(measured / target - 1) <= closeEnough) break;
    progress.note(
      `predicted ${expected.toFixed(2)} ms, measured ${measured.toFixed(2)} ms, asked for ${target} ms`,
    );
    if (tries.length === mostTries) break;
    scale *= measured / expected;
  }
  const best = tries.reduce((a, b) => (off(b) < off(a) ? b : a));
  return {
    plan: best.plan,
    report: {
      about: meter.about,
      table: meter.source,
      target,
      dense,
      predicted: best.predicted,
      predictedAsked: null,
      measured: meter.whole ? best.measured : null,
      tries: meter.whole ? tries.map(({ predicted: p, measured }) => ({ predicted: p, measured })) : [],
      widths: together(
        groups.map(({ name, kind }, i) => ({
          groups: [name],
          kind,
          units: whole[i]!,
          kept: best.widths[i]!,
        })),
      ),
    },
  };

  function off({ measured }: { measured: number }): number {
    return Math.abs(measured / target - 1);
  }
}

/** What widths there are to choose: for groups of the same pieces together; for each where channels are ranked across
 * groups. */
function choicesOf(
  { groups, model }: LatencyOf,
  scores: readonly Float64Array[],
  options: PlanOptions,
): WidthChoice[] {
  const byItself = options.global || (options.ranking ?? 'uniform') !== 'uniform';
  const alike = new Map<string, number[]>();
  groups.forEach((group, i) => {
    if (!removable(group, options) || (group.kind === 'heads' && options.heads)) return;
    const key = byItself ? `${i}` : `${group.kind} ${widthOf(group)} ${model.alike(i)}`;
    alike.set(key, [...(alike.get(key) ?? []), i]);
  });
  const { roundTo } = options;
  return [...alike.values()].map((members): WidthChoice => {
    const units = widthOf(groups[members[0]!]!);
    const widths = model
      .widths(members[0]!)
      .filter((width) => width === units || typeof roundTo !== 'number' || width % roundTo === 0);
    const losses = widths.map((width) =>
      members.reduce((sum, i) => sum + importanceLost(groups[i]!, scores[i]!, width), 0),
    );
    return { groups: members, widths, losses };
  });
}

function importanceLost(group: PruningGroup, scores: Float64Array, width: number): number {
  const steps = stepsOf(group, scores);
  // Normalized scores can be negative.
  const least = Math.min(0, steps[0]?.score ?? 0);
  const sum = (some: typeof steps) => some.reduce((total, { score }) => total + score - least, 0);
  const all = sum(steps);
  const left = all > 0 ? 1 - sum(steps.slice(0, steps.length - width)) / all : width / steps.length;
  return -parametersOf(group) * Math.log(Math.max(left, 1e-6));
}

/** Parameters that have an index in a group. */
const parametersOf = ({ slices }: PruningGroup): number =>
  slices.reduce((sum, { parameter, units }) => {
    const share = units.reduce((count, unit) => count + Number(unit >= 0), 0) / units.length;
    return sum + parameter.tensor!.size * share;
  }, 0);
