import { formatMilliseconds, formatPercent, formatSpeedup } from './format.ts';
import { html, type Markup } from './markup.ts';
import type { Report, ReportDevice, ReportDeviceCell } from './schema.ts';
import { stageRows } from './summary.ts';

/** A cell with a figure that counts: wrong results are none. */
type Timed = ReportDeviceCell & { latencyMs: NonNullable<ReportDeviceCell['latencyMs']> };

const timed = ({ cells }: ReportDevice): Timed[] =>
  cells.filter((cell): cell is Timed => cell.latencyMs !== undefined && cell.right !== false);

const fastest = (cells: readonly Timed[]): Timed | undefined =>
  cells.reduce<Timed | undefined>(
    (best, cell) => (best && best.latencyMs.median <= cell.latencyMs.median ? best : cell),
    undefined,
  );

/** What to ship to a device, by what it measured. */
export interface Advice {
  readonly device: string;
  /** The fastest whose outputs were not wrong. */
  readonly best: Timed;
  /** The dense model's fastest there, where that is another file. */
  readonly dense: Timed | undefined;
  /** Of the held-out images, where the run knows. */
  readonly top1: number | undefined;
}

/** Which file for which device: the fastest that is right there. */
export function advice(report: Report): Advice[] {
  return (report.devices ?? []).flatMap((device) => {
    const cells = timed(device);
    const best = fastest(cells);
    if (!best) return [];
    const dense = fastest(cells.filter(({ name }) => name === 'dense'));
    const top1 = stageRows(report).find(({ name }) => name === best.name)?.stage.top1;
    return [{ device: device.name, best, dense: dense === best ? undefined : dense, top1 }];
  });
}

/** How far outputs are off, for people: `0.56 %`, `< 0.01 %`. */
export function offBy(error: number | null | undefined): string {
  if (error === null || error === undefined) return 'no numbers';
  return error < 1e-4 ? '< 0.01 %' : `${(100 * error).toPrecision(2)} %`;
}

/** A column a device, a row a file in a runtime; before it, which file to take. Nothing where no device measured. */
export function devicesSection(report: Report): Markup | undefined {
  const devices = report.devices ?? [];
  if (devices.length === 0) return undefined;
  const rows = [
    ...new Map(devices.flatMap(({ cells }) => cells).map((cell) => [keyOf(cell), cell])).values(),
  ];
  const order = stageRows(report).map(({ name }) => name);
  rows.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name) || compare(keyOf(a), keyOf(b)));
  return html`<section>
<h2>On devices</h2>
<p>Median of one image; below it how far the outputs are from what the model must give. Wrong ones count for nothing.</p>
<ul class="advice">${advice(report).map(adviceLine)}</ul>
<div class="sideways"><table class="devices">
<thead><tr><th scope="col">file</th>${devices.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${rows.map(
    (row) => html`<tr><th scope="row">${row.name} .${row.format}<small>${row.how}</small></th>${devices.map(
      (device) => {
        const cell = device.cells.find((one) => keyOf(one) === keyOf(row));
        return html`<td>${cell && cellMarkup(cell)}</td>`;
      },
    )}</tr>
`,
  )}</tbody>
</table></div>
<dl>${devices.map((device) => html`<dt>${device.name}</dt><dd>${factsOf(device)}</dd>`)}</dl>
</section>`;
}

const keyOf = ({ file, how }: ReportDeviceCell): string => `${file} ${how}`;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function adviceLine({ device, best, dense, top1 }: Advice): Markup {
  const than = dense && dense.latencyMs.median / best.latencyMs.median;
  const facts = [
    best.how,
    than === undefined ? undefined : `${formatSpeedup(than)} as fast as the dense model’s best there`,
    top1 === undefined ? undefined : `top-1 ${formatPercent(top1)}`,
  ];
  return html`<li><b>${device}</b>: <code>${best.file}</code>, ${formatMilliseconds(best.latencyMs.median)} with ${facts
    .filter((fact) => fact !== undefined)
    .join(', ')}.</li>`;
}

function cellMarkup({ latencyMs, averaged, right, error, failed }: ReportDeviceCell): Markup {
  if (failed !== undefined) return html`<span class="bad" title="${failed}">failed</span>`;
  if (right === false) return html`<span class="bad">wrong</span><small>${offBy(error)} off</small>`;
  const checked = right === true ? `${offBy(error)} off` : 'not checked';
  const off = averaged ? `mean, ${checked}` : checked;
  return html`${latencyMs ? formatMilliseconds(latencyMs.median) : 'right'}<small>${off}</small>`;
}

function factsOf({
  userAgent,
  cores,
  memoryGigabytes,
  gpu,
  isolated,
  relaxedSimd,
  emulated,
  measuredAt,
}: ReportDevice): string {
  if (emulated) return `${userAgent}; results only, no times, ${measuredAt.slice(0, 10)}`;
  return [
    `${cores} core${cores === 1 ? '' : 's'}`,
    memoryGigabytes === undefined ? undefined : `${memoryGigabytes} GB`,
    gpu,
    isolated ? undefined : 'not isolated: one thread',
    relaxedSimd ? undefined : 'no relaxed SIMD',
    measuredAt.slice(0, 10),
  ]
    .filter((fact) => fact !== undefined)
    .join(', ');
}
