import { writeFileWhole } from '../../common/files.node.ts';
import { type Inspection, inspect } from '../../library/inspect.ts';
import { groupsPage } from '../../report/groups/page.ts';
import type { ModelReading } from '../../zoo/load-options.ts';
import { openModel } from '../open.node.ts';

/**
 * What a model is and what can be done with it; with `groups` each group of channels that pruning can remove.
 * @param html a file that gets these groups as a page
 */
export async function inspectModel(
  reference: string,
  { groups = false, html, ...reading }: ModelReading & { groups?: boolean; html?: string },
): Promise<Inspection> {
  const found = await inspect(await openModel(reference, reading), { groups: groups || html !== undefined });
  if (html !== undefined) {
    const { groups: described = [], leftWhole = [], parameters, macs, can } = found;
    const page = { groups: described, leftWhole, parameters, macs, share: can.prune.share };
    writeFileWhole(html, groupsPage(reference, page));
  }
  return found;
}
