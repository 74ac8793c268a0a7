import type { Graph } from '../graph/graph.ts';
import { type GroupSummary, groupsSummary } from '../prune/prune.ts';
import { describeModel, type ModelDescription } from '../zoo/describe.ts';

/** What a model is, and with `groups` what pruning can take out of it. */
export type Inspection = ModelDescription & { groups?: GroupSummary[] };

/**
 * Parameters, multiply-accumulates, input, classes and blocks of a model, measured on its graph.
 *
 * @example
 * ```js
 * const { parameters, macs, blocks } = await inspect(model);
 * const { groups } = await inspect(model, { groups: true });
 * ```
 */
export async function inspect(model: Graph, options: { groups?: boolean } = {}): Promise<Inspection> {
  const description = await describeModel(model);
  return options.groups ? { ...description, groups: groupsSummary(model) } : description;
}
