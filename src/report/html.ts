import { devicesSection } from './devices.ts';
import { figure, figures } from './figures.ts';
import { formatBytes, formatMilliseconds, formatPercent, formatPoints, formatSpeedup } from './format.ts';
import { html, type Markup } from './markup.ts';
import { pageOf } from './page.ts';
import { loadPlots, type Plots } from './plots.ts';
import type { Report, ReportSample, ReportSearch } from './schema.ts';
import {
  artifactToShip,
  backendRows,
  notFaster,
  type Outcome,
  outcome,
  type StageRow,
  stageRows,
  trainedStage,
} from './summary.ts';
import { wayText } from './sweep/words.ts';
import { stageColumns } from './table.ts';

/**
 * The report as one HTML page that needs nothing else: styles, plots and pictures are inside, and it
 * makes no request. It follows the reader's light or dark scheme and fits a phone.
 * @param uses who loads a file of each format, by the format's name
 */
export async function reportHtml(
  report: Report,
  uses: Readonly<Record<string, string>> = {},
): Promise<string> {
  const plots = await loadPlots();
  const rows = stageRows(report);
  const result = outcome(report);
  const title = result ? headline(result) : `${report.model}, measured`;
  return pageOf(
    `${report.model}: ${title}`,
    html`<header>
<p class="kicker">${report.model}</p>
<h1>${title}</h1>
</header>
${result && tiles(result)}
${stagesSection(rows, notFaster(report))}
${devicesSection(report)}
${figures('Accuracy against latency', 'Up is more accurate, left is faster; the line follows the stages.', [plots.accuracyAgainstLatency(rows)])}
${figures('Channels kept', 'How many of each layer’s channels pruning left.', [plots.channelsKept(report.channels ?? [])])}
${figures('Finetuning', 'Loss of each step (faint) and its running mean; below it the learning rate.', [
  plots.lossCurve(report.training ?? []),
  plots.learningRate(report.training ?? []),
])}
${backendsSection(report, plots)}
${searchSection(report.search)}
${samplesSection(report.samplesShown ?? [])}
${artifactsSection(report, uses)}
${factsSection('Recipe', facts(report.recipe))}
${factsSection('Machine', machineFacts(report))}
${report.measuredAt && html`<footer>Measured ${report.measuredAt.slice(0, 16).replace('T', ' ')} UTC.</footer>`}`,
  );
}

/** `3.13x faster, 4.02x smaller, top-1 −0.28 points` */
function headline({ final, smaller }: Outcome): string {
  const parts = [
    final.speedup === undefined ? undefined : ratio(final.speedup, 'faster', 'slower'),
    ratio(smaller, 'smaller', 'larger'),
    final.top1Change === undefined ? undefined : `top-1 ${formatPoints(final.top1Change)} points`,
  ];
  return parts.filter((part) => part !== undefined).join(', ');
}

function ratio(factor: number, better: string, worse: string): string {
  return factor >= 1 ? `${formatSpeedup(factor)} ${better}` : `${formatSpeedup(1 / factor)} ${worse}`;
}

function tiles({ dense, final }: Outcome): Markup {
  const { stage } = final;
  const tile = (label: string, before: string | undefined, after: string | undefined) =>
    before !== undefined &&
    after !== undefined &&
    html`<div class="tile"><span>${label}</span><b>${after}</b><span>from ${before}</span></div>`;
  const both = <T>(read: (from: typeof stage) => T | undefined, format: (value: T) => string) =>
    [dense, stage].map(read).map((value) => (value === undefined ? undefined : format(value)));
  const [latency0, latency1] = both((from) => from.latencyMs?.median, formatMilliseconds);
  const [bytes0, bytes1] = both((from) => from.bytes, formatBytes);
  const [top0, top1] = both((from) => from.top1, formatPercent);
  const [memory0, memory1] = both((from) => from.peakRssBytes, formatBytes);
  return html`<div class="tiles">
${tile('latency', latency0, latency1)}
${tile('file size', bytes0, bytes1)}
${tile('top-1', top0, top1)}
${tile('peak memory', memory0, memory1)}
</div>`;
}

/** A change of accuracy, coloured when it is a gain or more than a point lost. */
const points = (change: number): Markup =>
  html`<span class="${change < -0.01 ? 'bad' : change > 0 ? 'good' : ''}">${formatPoints(change)}</span>`;

/** What stands small below a table cell. */
const remarks: Record<string, (row: StageRow) => string | Markup | undefined> = {
  stage: ({ stage }) => (stage.stage === 'quantized' ? (stage.backend ?? undefined) : stage.precision),
  'top-1': ({ top1Change }) => (top1Change === undefined ? undefined : points(top1Change)),
  latency: ({ stage }) => stage.latencyMs && `p95 ${formatMilliseconds(stage.latencyMs.p95)}`,
};

const capitalized = (text: string) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;

function stagesSection(rows: readonly StageRow[], slower: string | undefined): Markup {
  const [firstColumn, ...columns] = stageColumns;
  const remark = (title: string, row: StageRow) => {
    const text = remarks[title]?.(row);
    return text && html`<small>${text}</small>`;
  };
  const samples = rows.find(({ stage }) => stage.samples !== undefined)?.stage.samples;
  const runs = rows.find(({ stage }) => stage.latencyMs)?.stage.latencyMs?.runs;
  const notes = [
    samples === undefined ? undefined : `Top-1 on ${samples.toLocaleString('en')} held-out images.`,
    runs === undefined
      ? undefined
      : `Latency of one image, median of ${runs} runs; the models take turns, each in a process of its own.`,
    ...[...rows.flatMap(({ stage }) => stage.notes ?? []), ...(slower ? [slower] : [])].map(
      (note) => `${capitalized(note)}.`,
    ),
  ];
  return html`<section>
<h2>Stage by stage</h2>
<p>${notes.filter((note) => note !== undefined).join(' ')}</p>
<div class="scroll"><table class="stacked">
<thead><tr>${stageColumns.map(({ title }) => html`<th scope="col">${title}</th>`)}</tr></thead>
<tbody>
${rows.map(
  (
    row,
  ) => html`<tr><th scope="row">${firstColumn!.cell(row)}${remark(firstColumn!.title, row)}</th>${columns.map(
    ({ title, cell }) => html`<td data-label="${title}"><span>${cell(row)}</span>${remark(title, row)}</td>`,
  )}</tr>
`,
)}</tbody>
</table></div>
</section>`;
}

/** The model before quantization in every lower precision. */
function backendsSection(report: Report, plots: Plots): Markup | undefined {
  const rows = backendRows(report);
  if (rows.length === 0) return undefined;
  const trained = trainedStage(report);
  const drawing = plots.backendAccuracy(rows, trained?.top1);
  return html`<section>
<h2>Backends compared</h2>
<p>${trained && `The ${trained.stage} model`} in fp16 and in int8 with the numbers each backend asks for, run on ${report.machine.engine}; dynamic (blue) finds activation ranges at run time, static (orange) beforehand.</p>
${drawing && figure(drawing)}
<div class="scroll"><table>
<thead><tr>${['precision', 'top-1', 'points', 'size'].map((title) => html`<th scope="col">${title}</th>`)}</tr></thead>
<tbody>
${rows.map(
  ({ entry: { dtype, top1, bytes }, name, top1Change }) =>
    html`<tr><th scope="row">${name === dtype ? dtype : `${dtype} ${name}`}</th><td>${formatPercent(top1)}</td><td>${top1Change === undefined ? '-' : points(top1Change)}</td><td>${formatBytes(bytes)}</td></tr>
`,
)}</tbody>
</table></div>
</section>`;
}

function samplesSection(samples: readonly ReportSample[]): Markup | undefined {
  if (samples.length === 0) return undefined;
  const wrong = samples.filter(({ label, predicted }) => label !== predicted).length;
  return html`<section>
<h2>Sample predictions</h2>
<p>Of the model that ships, on held-out images from all over the set. ${wrong > 0 && 'Framed in red: mistakes, the surest of which were added.'}</p>
<ul class="samples">
${samples.map(({ id, label, predicted, probability, thumbnail }) => {
  const right = label === predicted;
  return html`<li class="${right ? 'right' : 'wrong'}" title="${id}">${
    thumbnail ? html`<img src="${thumbnail}" alt="${id}">` : html`<div class="blank"></div>`
  }<b>${predicted}</b><span>${(probability * 100).toFixed(1)} %${!right && `, is ${label}`}</span></li>
`;
})}</ul>
</section>`;
}

function artifactsSection(report: Report, uses: Readonly<Record<string, string>>): Markup | undefined {
  if (report.artifacts.length === 0) return undefined;
  const ship = artifactToShip(report);
  return html`<section>
<h2>Files</h2>
<p>Paths are relative to the run’s folder.</p>
<ul class="artifacts">
${report.artifacts.map(
  (
    artifact,
  ) => html`<li><div><code>${artifact.file}</code>${artifact === ship && html`<b class="badge">ship this</b>`}</div><data value="${artifact.bytes}">${formatBytes(artifact.bytes)}</data><span>${uses[artifact.format] ?? artifact.format}</span></li>
`,
)}</ul>
</section>`;
}

function searchSection(search: ReportSearch | undefined): Markup | undefined {
  if (!search) return undefined;
  const { tried, chosen, stopped, samples, measuredOn } = search;
  const first = tried[0]?.top1 ?? chosen.top1;
  const isChosen = (row: ReportSearch['chosen']) => row.ratio === chosen.ratio && row.dtype === chosen.dtype;
  return html`<section>
<h2>Search</h2>
<p>Measured on ${samples} images of ${measuredOn}. ${stopped.slice(0, 1).toUpperCase()}${stopped.slice(1)}.</p>
<div class="sideways"><table>
<thead><tr><th>model</th><th>top-1 %</th><th>points</th><th>file</th></tr></thead>
<tbody>${tried.map(
    (row) => html`<tr class="${isChosen(row) ? 'best' : ''}">
<th scope="row">${wayText(row)}</th><td>${(100 * row.top1).toFixed(2)}</td><td>${(100 * (row.top1 - first)).toFixed(2)}</td><td>${formatBytes(row.bytes)}</td></tr>`,
  )}</tbody>
</table></div>
</section>`;
}

type Fact = readonly [name: string, value: string];

function factsSection(title: string, entries: readonly Fact[]): Markup | undefined {
  if (entries.length === 0) return undefined;
  return html`<section>
<h2>${title}</h2>
<dl>${entries.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
</section>`;
}

/** Nested options flattened: `prune.ratio`. */
function facts(value: Readonly<Record<string, unknown>>, prefix = ''): Fact[] {
  return Object.entries(value).flatMap(([key, entry]): Fact[] => {
    const name = prefix + key;
    if (entry === undefined || entry === null) return [];
    if (Array.isArray(entry)) return entry.length === 0 ? [] : [[name, entry.join(', ')]];
    if (typeof entry === 'object') return facts(entry as Record<string, unknown>, `${name}.`);
    return [[name, String(entry)]];
  });
}

function machineFacts({ machine }: Report): Fact[] {
  const { cpu, processorClass, threads, engine, cores, memoryBytes, system, ...others } = machine;
  return [
    ['processor', processorClass === undefined ? cpu : `${cpu} (${processorClass})`],
    ...(cores === undefined ? [] : ([['cores', String(cores)]] satisfies Fact[])),
    ['threads used', String(threads)],
    ['engine', engine],
    ...(memoryBytes === undefined ? [] : ([['memory', formatBytes(memoryBytes)]] satisfies Fact[])),
    ...(system === undefined ? [] : ([['system', system]] satisfies Fact[])),
    ...facts(others),
  ];
}
