import { deviceResults } from '../lab/results.ts';
import type { Cell, Device } from '../lab/session.ts';
import { offBy } from '../report/devices.ts';
import { formatMilliseconds } from '../report/format.ts';
import type { ReportDevice, ReportDeviceCell } from '../report/schema.ts';
import { columns } from './columns.ts';

/** How far outputs are off, and what that means. */
export function verdictText({ right, error }: Pick<ReportDeviceCell, 'right' | 'error'>): string {
  if (right === null || right === undefined) return 'not checked';
  const off = typeof error === 'number' ? `${offBy(error)} off` : offBy(error);
  return right ? off : `WRONG, ${off}`;
}

/** A cell that ended, in a line: `Pixel 8: int8, LiteRT.js, WASM, 4 threads: 18.2 ms (p95 19.0 ms), 1.9 % off`. */
export function cellLine(device: Device, cell: Cell): string | undefined {
  const [result] = deviceResults(device, [cell]).cells;
  return result && resultLine(device.name, cell.variant.title, result);
}

/** The same of a result as reports keep it. */
export function resultLine(device: string, title: string, result: ReportDeviceCell): string {
  const where = `${device}: ${title} .${result.format}, ${result.how}`;
  if (!result.latencyMs) return `${where}: failed: ${result.failed ?? 'nothing'}`;
  return `${where}: ${timesText(result.latencyMs, result.averaged)}, ${verdictText(result)}`;
}

/** `18.2 ms (p95 19.0 ms)`, of tools that tell no more `18.2 ms (mean)`. */
export function timesText(
  { median, p95 }: NonNullable<ReportDeviceCell['latencyMs']>,
  averaged: boolean | undefined,
): string {
  const beside = [
    averaged ? 'mean' : undefined,
    p95 === undefined ? undefined : `p95 ${formatMilliseconds(p95)}`,
  ];
  const told = beside.filter((text) => text !== undefined).join(', ');
  return told ? `${formatMilliseconds(median)} (${told})` : formatMilliseconds(median);
}

/** All devices' results, a table each. */
export const formatLab = (devices: readonly ReportDevice[]): string =>
  devices
    .filter(({ cells }) => cells.length > 0)
    .map(({ name, cells }) => `${name}\n${columns(head, cells.map(row))}`)
    .join('\n\n') || 'no device measured anything';

const head = ['file', 'how', 'median', 'p95', 'first', 'outputs'];

const row = (cell: ReportDeviceCell): string[] => [
  `${cell.name} .${cell.format}`,
  cell.how,
  ...(cell.latencyMs
    ? [
        `${formatMilliseconds(cell.latencyMs.median)}${cell.averaged ? ' (mean)' : ''}`,
        ...[cell.latencyMs.p95, cell.firstMs].map((value) =>
          value === undefined ? '-' : formatMilliseconds(value),
        ),
      ]
    : ['-', '-', '-']),
  cell.failed === undefined ? verdictText(cell) : `failed: ${cell.failed}`,
];
