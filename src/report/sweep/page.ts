import { figures } from '../figures.ts';
import { formatBytes, formatMilliseconds } from '../format.ts';
import { html } from '../markup.ts';
import { pageOf } from '../page.ts';
import { shortfallText } from './budget.ts';
import { loadSweepPlot } from './plot.ts';
import type { SweepRow } from './rows.ts';
import type { Sweep } from './sweep.ts';
import { top1Text, wayText } from './words.ts';

/** A sweep as one HTML page that needs nothing else. */
export async function sweepPage(sweep: Sweep): Promise<string> {
  const plot = await loadSweepPlot();
  const { dense, rows, front, best, nearest, shortfall, machine } = sweep;
  const title = best
    ? `${wayText(best)}: top-1 ${top1Text(best)} %`
    : nearest
      ? `nothing meets the budget: the nearest is ${wayText(nearest)}, ${shortfallText(shortfall)}`
      : `${rows.length} models tried`;
  const row = (one: SweepRow) => html`<tr class="${one === best ? 'best' : ''}">
<th scope="row">${wayText(one)}</th>
<td>${top1Text(one)}</td>
<td>${(100 * (one.top1 - dense.top1)).toFixed(2)}</td>
<td>${one.latencyMs === null ? '' : formatMilliseconds(one.latencyMs)}</td>
<td>${formatBytes(one.bytes)}</td>
<td>${(one.macs / 1e9).toPrecision(3)}</td>
</tr>`;
  return pageOf(
    `${sweep.model}: ${title}`,
    html`<header>
<p class="kicker">${sweep.model}</p>
<h1>${title}</h1>
</header>
${figures('Accuracy against latency', 'Up is more accurate, left is faster. The line joins those that no other is better than in both.', [plot([dense, ...rows], front)])}
<section>
<h2>Models</h2>
<p>Top-1 on ${dense.samples} images of ${sweep.measuredOn}${rows.some(({ top1Error }) => top1Error !== null) ? ', the mean over the seeds and its standard error' : ''}; latency of one image, the median, with ${machine.threads} threads of ${machine.cpu}.</p>
<div class="sideways"><table>
<thead><tr><th>model</th><th>top-1 %</th><th>points</th><th>latency</th><th>file</th><th>GMACs</th></tr></thead>
<tbody>${[dense, ...rows].map(row)}</tbody>
</table></div>
</section>`,
  );
}
