import {
  formatBytes,
  formatCount,
  formatMacs,
  formatMilliseconds,
  formatPercent,
  formatSpeedup,
} from './format.ts';
import type { Report } from './schema.ts';
import { notFaster, type StageRow, stageRows } from './summary.ts';

export interface TableOptions {
  /** ANSI colours; give them to terminals only. Default false. */
  colour?: boolean;
}

type Style = 'bold' | 'dim' | 'green';
const ansi: Record<Style, readonly [on: number, off: number]> = {
  bold: [1, 22],
  dim: [2, 22],
  green: [32, 39],
};

const orDash = <T>(value: T | undefined, format: (value: T) => string): string =>
  value === undefined ? '-' : format(value);

/** The columns of the stage table, for terminals and pages alike. */
export const stageColumns: readonly { readonly title: string; readonly cell: (row: StageRow) => string }[] = [
  { title: 'stage', cell: ({ name }) => name },
  { title: 'top-1', cell: ({ stage }) => orDash(stage.top1, formatPercent) },
  { title: 'parameters', cell: ({ stage }) => formatCount(stage.parameters) },
  { title: 'MACs', cell: ({ stage }) => formatMacs(stage.macs) },
  { title: 'size', cell: ({ stage }) => formatBytes(stage.bytes) },
  { title: 'latency', cell: ({ stage }) => orDash(stage.latencyMs?.median, formatMilliseconds) },
  { title: 'speedup', cell: ({ speedup }) => orDash(speedup, formatSpeedup) },
  { title: 'peak memory', cell: ({ stage }) => orDash(stage.peakRssBytes, formatBytes) },
];

/** What each stage of a run cost and gave, a line each, for a terminal of 80 columns; below, where int8 was not faster. */
export function stageTable(report: Report, { colour = false }: TableOptions = {}): string {
  const paint = (text: string, style: Style | undefined): string =>
    colour && style ? `\u001b[${ansi[style][0]}m${text}\u001b[${ansi[style][1]}m` : text;
  const rows = stageRows(report).map((row) => ({
    cells: stageColumns.map(({ cell }) => cell(row)),
    faster: (row.speedup ?? 0) > 1,
  }));
  const titles = stageColumns.map(({ title }) => title);
  const widths = titles.map((title, i) =>
    Math.max(title.length, ...rows.map(({ cells }) => cells[i]!.length)),
  );
  const line = (cells: readonly string[], style: (column: number) => Style | undefined) =>
    cells
      .map((cell, i) => paint(i === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[i]!), style(i)))
      .join('  ')
      .trimEnd();
  const speedupColumn = titles.indexOf('speedup');
  const slower = notFaster(report);
  return [
    line(titles, () => 'bold'),
    paint(widths.map((width) => '─'.repeat(width)).join('  '), 'dim'),
    ...rows.map(({ cells, faster }) =>
      line(cells, (i) => (faster && i === speedupColumn ? 'green' : undefined)),
    ),
    ...(slower ? [slower] : []),
  ].join('\n');
}
