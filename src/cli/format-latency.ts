import type { LatencyReport } from '../prune/latency-budget.ts';
import { columns, count } from './columns.ts';

const ms = (milliseconds: number): string => `${milliseconds.toFixed(2)} ms`;
const change = (from: number, to: number): string => {
  const percent = 100 * (to / from - 1);
  return `${percent > 0 ? '+' : ''}${percent.toFixed(1)} %`;
};

/** What widths were chosen by latency, and what that is worth. */
export function formatLatency(report: LatencyReport): string {
  const { about, table, target, dense, predicted, predictedAsked, measured, widths } = report;
  const moved = widths.some(({ asked }) => asked !== undefined);
  const rows = widths.map(({ groups, kind, units, asked, kept }) => [
    groups.length > 1 ? `${groups[0]} and ${groups.length - 1} alike` : groups[0]!,
    kind,
    count(units),
    ...(moved ? [count(asked ?? units)] : []),
    count(kept),
  ]);
  return [
    columns(['group', 'kind', 'units', ...(moved ? ['asked'] : []), 'kept'], rows),
    `latency ${about}`,
    `  before ${ms(dense)}, predicted ${ms(predicted)}${measured === null ? '' : `, measured ${ms(measured)}`}`,
    ...(target === null ? [] : [`  asked for ${ms(target)}: ${off(target, measured ?? predicted)}`]),
    ...(predictedAsked === null
      ? []
      : [`  the widths asked for would take ${ms(predictedAsked)}: ${change(predictedAsked, predicted)}`]),
    `  table: ${table}`,
  ].join('\n');
}

const off = (target: number, found: number): string =>
  Math.abs(found / target - 1) <= 0.05
    ? `met, ${change(target, found)}`
    : `not met, ${change(target, found)}`;
