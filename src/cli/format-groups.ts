import type { Inspection } from '../library/inspect.ts';
import type { GroupDescription } from '../prune/describe-groups.ts';
import type { LeftWhole } from '../prune/left-whole.ts';
import { formatMacs } from '../report/format.ts';
import {
  coupledByRole,
  type Folded,
  foldGroups,
  foldLeftWhole,
  roleTitles,
  rulesOf,
  unfolded,
  unitsText,
} from '../report/groups/fold.ts';
import { columns, count } from './columns.ts';

/**
 * What pruning can take out of a model and what not: of each group what goes together and what a choice must keep to.
 * @param all each group by itself, in place of one line for those that are alike
 */
export function formatGroups({ groups, leftWhole }: Inspection, all = false): string[] {
  if (!groups) return [];
  const shown = all ? unfolded(groups) : foldGroups(groups);
  const whole = all ? unfolded(leftWhole!) : foldLeftWhole(leftWhole!);
  return [
    ...(shown.length ? [groupTable(shown)] : []),
    ...shown.map(details),
    ...(whole.length ? [leftWholeTable(whole)] : []),
  ];
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Work of alike groups is that of each. */
const groupTable = (groups: readonly Folded<GroupDescription>[]): string =>
  columns(
    ['group', 'times', 'each', 'MACs each', 'share'],
    groups.map(({ name, members: [first, ...others] }) => [
      name,
      count(1 + others.length),
      unitsText(first),
      formatMacs(first.macs),
      percent(first.macsShare),
    ]),
  );

function details(group: Folded<GroupDescription>): string {
  const [first] = group.members;
  const lines = [
    ...coupledByRole(group).map(({ role, axes }) => [roleTitles[role], axes.join(', ')] as const),
    ...rulesOf(group).map((rule) => ['rule', rule] as const),
  ];
  return [
    `${group.name}: ${unitsText(first)}${first.residual ? ', the residual stream' : ''}`,
    ...lines.map(([label, text]) => `  ${label.padEnd(11)}  ${text}`),
  ].join('\n');
}

const leftWholeTable = (layers: readonly Folded<LeftWhole>[]): string =>
  columns(
    ['stays whole', 'what', 'why'],
    layers.map(({ name, members: [first] }) => [
      name,
      `${count(first.channels)} ${first.side}`,
      `${first.why}${first.at === null ? '' : ` (${first.at})`}`,
    ]),
  );
