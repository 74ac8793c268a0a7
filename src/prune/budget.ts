import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import type { PruningGroup } from './group.ts';
import {
  fastWidths,
  type LatencyReport,
  latencyOf,
  planForLatency,
  reportRounding,
} from './latency-budget.ts';
import type { LatencyMeter } from './latency-table.ts';
import { ratioForMacs } from './mac-target.ts';
import { type Plan, type PlanOptions, planPruning } from './plan.ts';

/** How much is to go: one of `ratio` and the targets, `heads` beside any. */
export interface Budget extends PlanOptions {
  /** GMACs. */
  readonly targetMacs?: number | undefined;
  /** Milliseconds. */
  readonly targetLatency?: number | undefined;
}

export interface BudgetInput {
  readonly graph: Graph;
  readonly groups: readonly PruningGroup[];
  /** Of each group's units, comparable across groups. */
  readonly scores: readonly Float64Array[];
  readonly options: Budget;
  /** Who measures, where latencies are asked for. */
  readonly meter: LatencyMeter | undefined;
  readonly progress: Progress;
}

/**
 * What goes, by the budget that the options name, and the ratio that this is, where there is one.
 * @throws UserError when the budget can't be met, naming the least that can
 */
export async function planForBudget({
  graph,
  groups,
  scores,
  options,
  meter,
  progress,
}: BudgetInput): Promise<{ plan: Plan; ratio: number | undefined; latency?: LatencyReport }> {
  const { ratio, targetMacs, targetLatency, roundTo } = options;
  const latency =
    targetLatency || roundTo === 'auto' ? await latencyOf(graph, groups, needed(meter)) : undefined;
  if (latency && targetLatency) {
    const { plan, report } = await planForLatency(latency, scores, targetLatency, options, progress);
    return { plan, ratio, latency: report };
  }
  const fast = latency && fastWidths(latency);
  const planFor = (share?: number) => planPruning(groups, scores, { ...options, ratio: share }, fast);
  const applied = targetMacs === undefined ? ratio : ratioForMacs(graph, planFor, targetMacs * 1e9);
  const plan = planFor(applied);
  if (!latency) return { plan, ratio: applied };
  const asked = planPruning(groups, scores, { ...options, ratio: applied });
  return { plan, ratio: applied, latency: reportRounding(latency, asked, plan) };
}

function needed(meter: LatencyMeter | undefined): LatencyMeter {
  if (meter) return meter;
  throw new UserError('targetLatency and roundTo auto need somebody who measures: give latency');
}
