import { type GroupSummary, groupsSummary } from '../../prune/prune.ts';
import { describeModel, type ModelDescription } from '../../zoo/describe.ts';
import { openModel } from '../open.node.ts';

export type Inspection = ModelDescription & { groups?: GroupSummary[] };

/** Parameters, MACs, input, blocks, and with `groups` what pruning can remove. */
export async function inspectModel(
  reference: string,
  { arch, groups }: { arch?: string; groups?: boolean },
): Promise<Inspection> {
  const graph = await openModel(reference, { arch });
  const description = await describeModel(graph);
  return groups ? { ...description, groups: groupsSummary(graph) } : description;
}
