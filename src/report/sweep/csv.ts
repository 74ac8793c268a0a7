import type { SweepRow } from './rows.ts';

const columns: readonly (keyof SweepRow)[] = [
  ...(['ratio', 'importance', 'compensate', 'dtype', 'seeds', 'top1', 'top1Error'] as const),
  ...(['samples', 'parameters', 'macs', 'bytes', 'latencyMs'] as const),
];

/** Rows as comma-separated values; what was not measured is empty. */
export const sweepCsv = (rows: readonly SweepRow[]): string =>
  [columns.join(','), ...rows.map((row) => columns.map((column) => row[column] ?? '').join(',')), ''].join(
    '\n',
  );
