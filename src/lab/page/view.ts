import { offBy } from '../../report/devices.ts';
import { formatBytes, formatMilliseconds } from '../../report/format.ts';
import { html, type Markup } from '../../report/markup.ts';
import type { Hello } from '../protocol.ts';
import { howOf, measured, type Row } from './rows.ts';

/** What a measurement here rests on, in words. */
export function factsMarkup(device: Hello): Markup {
  const facts = [
    `${device.cores} core${device.cores === 1 ? '' : 's'}`,
    device.memory ? `${device.memory >= 8 ? 'at least ' : ''}${device.memory} GB of memory` : undefined,
    device.isolated
      ? 'threads: yes'
      : 'threads: no, the page is not cross-origin isolated (open it over HTTPS or localhost)',
    `relaxed SIMD: ${device.relaxedSimd ? 'yes' : 'no'}`,
    device.webgpu ? `WebGPU: ${device.gpu || 'yes'}` : 'WebGPU: no',
  ];
  return html`<li>${facts.filter((fact) => fact !== undefined).join(' · ')}</li>`;
}

/** Tiles, plot and table of what was measured so far. */
export function resultsMarkup(rows: readonly Row[]): Markup {
  const done = measured(rows);
  return html`${tiles(rows)}${done.length > 0 && plot(rows)}${table(rows)}`;
}

/** The fastest that is not wrong. */
function best(rows: readonly Row[]) {
  const right = measured(rows).filter(({ answer }) => answer.right !== false);
  return right.length === 0
    ? undefined
    : right.reduce((fastest, one) => (one.result.median < fastest.result.median ? one : fastest));
}

function tiles(rows: readonly Row[]): Markup {
  const fastest = best(rows);
  const wrong = measured(rows).filter(({ answer }) => answer.right === false).length;
  const cells = rows.filter(({ state }) => state.status !== 'off').length;
  const ended = rows.filter(({ state }) => state.status === 'measured' || state.status === 'failed').length;
  return html`<div class="tiles">
<div class="tile"><span>fastest here</span><b>${fastest ? formatMilliseconds(fastest.result.median) : '–'}</b><span>${fastest && `${fastest.row.variant.title}, ${howOf(fastest.row)}`}</span></div>
<div class="tile"><span>measured</span><b>${ended} of ${cells}</b><span>${wrong > 0 && html`<span class="bad">${wrong} wrong</span>`}</span></div>
</div>`;
}

function plot(rows: readonly Row[]): Markup {
  const bars = measured(rows).sort((a, b) => a.result.median - b.result.median);
  const slowest = Math.max(...bars.map(({ result }) => result.median));
  const fastest = best(rows);
  return html`<section>
<h2>Latency</h2>
<p>Median of one image, the fastest first.</p>
<ul class="bars">${bars.map(({ row, result, answer }) => {
    const wrong = answer.right === false;
    const kind = [row.variant.format, wrong && 'wrong', fastest?.row === row && 'best']
      .filter(Boolean)
      .join(' ');
    const width = `width: ${((100 * result.median) / slowest).toFixed(2)}%`;
    return html`<li class="${kind}"><span>${row.variant.title}, ${howOf(row)}</span><b>${wrong && 'wrong, '}${formatMilliseconds(result.median)}</b><div><i style="${width}"></i></div></li>`;
  })}</ul>
</section>`;
}

/** A table a file, a row a runtime; what this browser can't do is said once below. */
function table(rows: readonly Row[]): Markup {
  const files = [...new Set(rows.map(({ variant }) => variant))];
  return html`<section>
<h2>File by file</h2>
<p>Off by: distance of the outputs from what the model must give, relative to it. First: the first image after loading.</p>
<table class="cells">
<thead><tr><th scope="col">runtime</th><th scope="col">median</th>${columns.map((title) => html`<th scope="col" class="more">${title}</th>`)}</tr></thead>
${files.map((variant) => {
  const own = rows.filter((row) => row.variant === variant && row.state.status !== 'off');
  return html`<tbody><tr><th scope="rowgroup" colspan="${columns.length + 2}">${variant.title} .${variant.format}<small>${formatBytes(variant.bytes)}, ${variant.file}</small></th></tr>${own.map(tableRow)}</tbody>`;
})}
</table>
${notHere(rows)}
</section>`;
}

const columns = ['p95', 'first', 'memory', 'off by'];

function tableRow(row: Row): Markup {
  const { state } = row;
  const head = howOf(row);
  if (state.status !== 'measured') {
    const text = { waiting: '', running: 'measuring…', off: '', failed: 'failed' }[state.status];
    const reason = state.status === 'failed' && html`<small>${state.reason}</small>`;
    const kind = { waiting: 'off', running: 'now', off: 'off', failed: 'bad' }[state.status];
    return html`<tr class="${kind}"><td>${head}${reason}</td><td>${text}</td>${columns.map(() => html`<td class="more"></td>`)}</tr>`;
  }
  const { result, answer } = state;
  const off =
    answer.right === null
      ? 'not checked'
      : answer.right
        ? offBy(answer.error)
        : html`<span class="bad">${offBy(answer.error)}</span>`;
  const memory = result.memory === undefined ? undefined : formatBytes(result.memory);
  const cells = [formatMilliseconds(result.p95), formatMilliseconds(result.first), memory ?? '–', off];
  const wrong = answer.right === false;
  const remarks = [
    result.delegated === false && html`<small class="bad">partly on the CPU</small>`,
    html`<small class="less">p95 ${cells[0]}, first ${cells[1]}${memory && `, ${memory}`}, off by ${off}</small>`,
  ];
  const median = wrong
    ? html`<span class="bad">wrong</span><small>${formatMilliseconds(result.median)}</small>`
    : html`<b>${formatMilliseconds(result.median)}</b>`;
  return html`<tr><td>${head}${remarks}</td><td>${median}</td>${cells.map((cell) => html`<td class="more">${cell}</td>`)}</tr>`;
}

function notHere(rows: readonly Row[]): Markup | false {
  const reasons = new Map<string, Set<string>>();
  for (const row of rows) {
    if (row.state.status !== 'off') continue;
    const all = reasons.get(row.state.reason) ?? new Set();
    reasons.set(row.state.reason, all.add(howOf(row)));
  }
  return (
    reasons.size > 0 &&
    html`<p class="not">${[...reasons].map(([reason, hows]) => `Not here: ${[...hows].join('; ')} (${reason}). `)}</p>`
  );
}
