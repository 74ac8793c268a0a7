import { type Inspection, inspect } from '../../library/inspect.ts';
import type { ModelReading } from '../../zoo/load-options.ts';
import { openModel } from '../open.node.ts';

/** What a model is and what can be done with it; with `groups` each group of channels that pruning can remove. */
export async function inspectModel(
  reference: string,
  { groups, ...reading }: ModelReading & { groups?: boolean },
): Promise<Inspection> {
  return inspect(await openModel(reference, reading), { groups });
}
