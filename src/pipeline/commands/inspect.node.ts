import { type Inspection, inspect } from '../../library/inspect.ts';
import { openModel } from '../open.node.ts';

/** Parameters, MACs, input, blocks, and with `groups` what pruning can remove. */
export async function inspectModel(
  reference: string,
  { arch, groups }: { arch?: string; groups?: boolean },
): Promise<Inspection> {
  return inspect(await openModel(reference, { arch }), { groups });
}
