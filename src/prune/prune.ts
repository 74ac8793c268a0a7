import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Batch } from '../dataset/dataset.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { applyPlan, type Kept } from './apply.ts';
import type { PruningGroup } from './group.ts';
import { findGroups, type Grouping, type GroupOptions } from './groups.ts';
import { type Importance, type Sensitivities, scoredParameters, scoreGroups } from './importance.ts';
import { ratioForMacs } from './mac-target.ts';
import { type Plan, type PlanOptions, planPruning } from './plan.ts';
import { meanSquaredGradients, summedGradients } from './sensitivity.ts';

export interface PruneOptions extends PlanOptions, GroupOptions {
  importance: Importance;
  /** Of `random` importance. */
  seed?: number;
  /** Choose the ratio so that at most this many multiply-accumulates are left, as near as whole channels allow; `ratio` is then not used. */
  targetMacs?: number;
  /** Threads of the engine. */
  threads?: number;
}

/** Labelled images for `taylor` and `hessian`. */
export interface PruneData extends AsyncIterable<Pick<Batch, 'pixels' | 'labels'>> {
  /** For the progress bar. */
  readonly images?: number;
}

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
  /** The ratio that was applied: the one asked for, or the one found for `targetMacs`. */
  ratio: number;
}

/**
 * Prunes a graph: finds its groups, scores their units, removes the least important. The graph given
 * is left as it is; the new one's parameters are sliced when they are read.
 *
 * @param data images for `taylor` and `hessian`
 * @throws UserError on options out of range, missing images, a graph without anything to prune, or a
 *   MAC target that can't be met
 */
export async function prune(
  engine: Engine,
  graph: Graph,
  options: PruneOptions,
  data?: PruneData,
  progress: Progress = silent,
): Promise<PruneResult> {
  const grouping = findGroups(graph, options);
  if (grouping.groups.length === 0) throw new UserError('the model has no channels that can be pruned');
  for (const op of grouping.unknownOps) {
    progress.note(`${op} has no dependency rule: channels it reads are kept`);
  }
  const scores = await scoreGroups(engine, grouping.groups, {
    ...options,
    ...(await sensitivities(engine, graph, grouping, options, data, progress)),
  });
  const planFor = (ratio: number) => planPruning(grouping.groups, scores, { ...options, ratio });
  const ratio =
    options.targetMacs === undefined ? options.ratio : ratioForMacs(graph, planFor, options.targetMacs);
  const plan = planFor(ratio);
  return { ...applyPlan(graph, plan), groups: summarize(grouping, plan), ratio };
}

/** What can be pruned: every group, with everything kept. Shapes must have been inferred. */
export function groupsSummary(graph: Graph): GroupSummary[] {
  return summarize(findGroups(graph), new Map());
}

const summarize = ({ groups }: Grouping, plan: Plan): GroupSummary[] =>
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

async function sensitivities(
  engine: Engine,
  graph: Graph,
  { groups }: Grouping,
  { importance, threads }: PruneOptions,
  data: PruneData | undefined,
  progress: Progress,
): Promise<{ sensitivities?: Sensitivities }> {
  if (importance !== 'taylor' && importance !== 'hessian') return {};
  if (!data) throw new UserError(`importance ${importance} needs images: give --data`);
  const measure = importance === 'taylor' ? summedGradients : meanSquaredGradients;
  const task = progress.task(`importance (${importance})`, data.images ?? 0, 'images');
  const session = threads === undefined ? {} : { threads };
  try {
    return {
      sensitivities: await measure(engine, graph, scoredParameters(groups), data, { task, ...session }),
    };
  } finally {
    task.done();
  }
}
