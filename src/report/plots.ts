import type * as PlotModule from '@observablehq/plot';
import type { EpochRecord } from '../train/checkpoint.ts';
import { accuracyAxes, accuracyDomain, accuracyGrid } from './accuracy-axes.ts';
import { formatPercent } from './format.ts';
import { placeLabels } from './labels.ts';
import { Markup } from './markup.ts';
import type { LayerChannels, TrainingPoint } from './schema.ts';
import type { BackendRow, StageRow } from './summary.ts';

type Plot = typeof PlotModule;
/** A plot, drawn for a width in pixels. */
export type Drawing = (width: number) => Markup;

/** The widths a plot is drawn for: a page and a phone. The page shows the one that fits, so that text keeps its size. */
export const plotWidths = { wide: 680, narrow: 340 } as const;

export interface Plots {
  /** Top-1 against median latency, a point a stage. Undefined unless two stages have both. */
  accuracyAgainstLatency(rows: readonly StageRow[]): Drawing | undefined;
  /** How many of each layer's channels are left, a bar a layer. */
  channelsKept(layers: readonly LayerChannels[]): Drawing | undefined;
  /** Training loss and its running mean over the steps. */
  lossCurve(points: readonly TrainingPoint[]): Drawing | undefined;
  learningRate(points: readonly TrainingPoint[]): Drawing | undefined;
  /** Top-1 of each epoch, on the training images and on those held out. Undefined before it was measured. */
  accuracyOverEpochs(epochs: readonly EpochRecord[]): Drawing | undefined;
  /** Top-1 under each backend and scheme, a row each, beside a line for the float32 model. */
  backendAccuracy(rows: readonly BackendRow[], top1: number | undefined): Drawing | undefined;
}

const fontSize = 12;
/** Points drawn of a curve at most; a screen shows no more. */
const mostPoints = 500;

/** The library that plots are made with, and what makes SVG of one. Both are loaded when this is called. */
export async function loadDrawing(): Promise<{ Plot: Plot; draw: Draw }> {
  const [Plot, { parseHTML }] = await Promise.all([import('@observablehq/plot'), import('linkedom')]);
  const { document } = parseHTML('<!doctype html><html></html>');
  const draw: Draw = (options) =>
    new Markup(
      Plot.plot({
        document: document as unknown as Document,
        style: { fontSize: `${fontSize}px`, background: 'none', overflow: 'visible' },
        ...options,
      }).outerHTML,
    );
  return { Plot, draw };
}

/** The report's plots as SVG. Colours are CSS variables of the page, so that they follow its light or dark scheme. */
export async function loadPlots(): Promise<Plots> {
  const { Plot, draw } = await loadDrawing();
  return {
    accuracyAgainstLatency: (rows) => accuracyAgainstLatency(Plot, draw, rows),
    channelsKept: (layers) => channelsKept(Plot, draw, layers),
    lossCurve: (points) => lossCurve(Plot, draw, points),
    learningRate: (points) => learningRate(Plot, draw, points),
    accuracyOverEpochs: (epochs) => accuracyOverEpochs(Plot, draw, epochs),
    backendAccuracy: (rows, top1) => backendAccuracy(Plot, draw, rows, top1),
  };
}

type Draw = (options: PlotModule.PlotOptions) => Markup;

function accuracyAgainstLatency(Plot: Plot, draw: Draw, rows: readonly StageRow[]): Drawing | undefined {
  const measured = rows.flatMap(({ name, stage: { top1, latencyMs } }) =>
    top1 === undefined || !latencyMs ? [] : [{ name, top1: top1 * 100, median: latencyMs.median }],
  );
  if (measured.length < 2) return undefined;
  const y = accuracyDomain(measured.map(({ top1 }) => top1));
  const points = measured.map((point) => {
    const below = point.top1 < y[0];
    return {
      ...point,
      shown: below ? y[0] : point.top1,
      below,
      text: below ? `${point.name}, ${formatPercent(point.top1 / 100)} ↓` : point.name,
    };
  });
  return (width) => {
    const height = width < 500 ? 270 : 330;
    const frame = { left: 52, right: width - 18, top: 28, bottom: height - 48 };
    const slowest = Math.max(...points.map(({ median }) => median));
    const x = [0, slowest * 1.15] as const;
    const placed = placeLabels(
      points.map(({ shown, median, text }) => ({
        x: frame.left + (median / x[1]) * (frame.right - frame.left),
        y: frame.bottom - ((shown - y[0]) / (y[1] - y[0])) * (frame.bottom - frame.top),
        text,
      })),
      { ...frame, right: width - 4 },
      fontSize,
    );
    return draw({
      width,
      height,
      marginLeft: frame.left,
      marginRight: width - frame.right,
      marginTop: frame.top,
      marginBottom: height - frame.bottom,
      ariaLabel: 'Top-1 accuracy against median latency',
      ...accuracyAxes(width, x, y),
      marks: [
        ...accuracyGrid(Plot),
        Plot.line(points, {
          x: 'median',
          y: 'shown',
          stroke: 'var(--muted)',
          strokeWidth: 1.25,
          strokeDasharray: '4 4',
        }),
        Plot.dot(points, {
          x: 'median',
          y: 'shown',
          r: 5.5,
          fill: (_, i) => stageColour(i, points.length),
          stroke: 'var(--surface)',
          strokeWidth: 2,
        }),
        ...points.map((point, i) =>
          Plot.text([point], {
            x: 'median',
            y: 'shown',
            text: 'text',
            fill: 'var(--text)',
            stroke: 'var(--surface)',
            strokeWidth: 4,
            fontWeight: 600,
            ...placed[i],
          }),
        ),
      ],
    });
  };
}

/** The dense model in grey, the one that ships in the accent colour, those between in a third. */
function stageColour(index: number, count: number): string {
  if (index === 0) return 'var(--muted)';
  return index === count - 1 ? 'var(--accent)' : 'var(--second)';
}

function channelsKept(Plot: Plot, draw: Draw, layers: readonly LayerChannels[]): Drawing | undefined {
  const present = layers.filter(({ total }) => total > 0);
  if (present.length === 0) return undefined;
  const longest = Math.max(...present.map(({ layer }) => layer.length));
  const counts = present.map(({ kept, total }) => `${kept} / ${total}`);
  const longestCount = Math.max(...counts.map((text) => text.length));
  return (width) => {
    const row = present.length > 30 ? 17 : 22;
    const marginLeft = Math.min(width * 0.42, longest * 6.4 + 14);
    const room = Math.floor((marginLeft - 13) / 6.4);
    const short = (layer: string) => (layer.length > room ? `…${layer.slice(1 - room)}` : layer);
    return draw({
      width,
      height: present.length * row + 40,
      marginLeft,
      marginRight: longestCount * 6.8 + 12,
      marginTop: 4,
      marginBottom: 36,
      ariaLabel: 'Channels kept in each layer',
      x: {
        domain: [0, 100],
        label: 'channels kept (%)',
        labelAnchor: 'center',
        labelArrow: 'none',
        ticks: width < 500 ? 3 : 5,
      },
      y: {
        domain: present.map(({ layer }) => layer),
        label: null,
        tickSize: 0,
        tickFormat: short,
        padding: 0.3,
      },
      marks: [
        Plot.barX(present, { x1: 0, x2: 100, y: 'layer', fill: 'var(--grid)', rx: 2 }),
        Plot.barX(present, {
          x1: 0,
          x2: ({ kept, total }: LayerChannels) => (100 * kept) / total,
          y: 'layer',
          fill: 'var(--accent)',
          rx: 2,
        }),
        Plot.text(present, {
          x: 100,
          y: 'layer',
          text: (_, i) => counts[i]!,
          dx: 8,
          textAnchor: 'start',
          fill: 'var(--muted)',
          fontVariant: 'tabular-nums',
        }),
      ],
    });
  };
}

function lossCurve(Plot: Plot, draw: Draw, points: readonly TrainingPoint[]): Drawing | undefined {
  if (points.length < 2) return undefined;
  const smooth = runningMean(points);
  return (width) =>
    draw({
      ...curveFrame(width, 'Training loss over steps'),
      height: width < 500 ? 220 : 260,
      y: { label: 'training loss', labelArrow: 'none', grid: false, ticks: 5, nice: true },
      marks: [
        Plot.gridY({ stroke: 'var(--grid)', strokeOpacity: 1, ticks: 5 }),
        Plot.line(thinned(points), {
          x: 'step',
          y: 'loss',
          stroke: 'var(--accent)',
          strokeOpacity: 0.3,
          strokeWidth: 1,
        }),
        Plot.line(thinned(smooth), { x: 'step', y: 'loss', stroke: 'var(--accent)', strokeWidth: 2 }),
      ],
    });
}

function learningRate(Plot: Plot, draw: Draw, points: readonly TrainingPoint[]): Drawing | undefined {
  if (points.length < 2) return undefined;
  return (width) =>
    draw({
      ...curveFrame(width, 'Learning rate over steps'),
      height: 140,
      y: {
        label: 'learning rate',
        labelArrow: 'none',
        ticks: 3,
        tickFormat: shortNumber,
        domain: [0, largestRate(points)],
      },
      marks: [
        Plot.gridY({ stroke: 'var(--grid)', strokeOpacity: 1, ticks: 3 }),
        Plot.line(thinned(points), { x: 'step', y: 'lr', stroke: 'var(--second)', strokeWidth: 2 }),
      ],
    });
}

function accuracyOverEpochs(Plot: Plot, draw: Draw, epochs: readonly EpochRecord[]): Drawing | undefined {
  const curves = [
    { name: 'training', colour: 'var(--muted)', of: ({ trainTop1 }: EpochRecord) => trainTop1 },
    { name: 'held out', colour: 'var(--accent)', of: ({ top1 }: EpochRecord) => top1 },
  ].map(({ of, ...curve }) => ({
    ...curve,
    points: epochs.flatMap((record) => {
      const top1 = of(record);
      return top1 === undefined ? [] : [{ epoch: record.epoch, top1: 100 * top1 }];
    }),
  }));
  const drawn = curves.filter(({ points }) => points.length > 0);
  if (drawn.length === 0) return undefined;
  return (width) =>
    draw({
      ...curveFrame(width, 'Top-1 over epochs'),
      height: width < 500 ? 200 : 220,
      marginRight: 64,
      x: { ...curveFrame(width, '').x, label: 'epoch', tickFormat: 'd' },
      y: { label: 'top-1 (%)', labelArrow: 'none', ticks: 5, nice: true },
      marks: [
        Plot.gridY({ stroke: 'var(--grid)', strokeOpacity: 1, ticks: 5 }),
        ...drawn.flatMap(({ name, colour, points }) => [
          Plot.line(points, { x: 'epoch', y: 'top1', stroke: colour, strokeWidth: 2 }),
          Plot.dot(points, { x: 'epoch', y: 'top1', r: 2.5, fill: colour }),
          Plot.text(points.slice(-1), {
            x: 'epoch',
            y: 'top1',
            text: () => name,
            dx: 8,
            textAnchor: 'start',
            fill: colour,
          }),
        ]),
      ],
    });
}

function backendAccuracy(
  Plot: Plot,
  draw: Draw,
  rows: readonly BackendRow[],
  top1: number | undefined,
): Drawing | undefined {
  if (rows.length === 0) return undefined;
  const reference = top1 === undefined ? [] : [top1 * 100];
  const domain = accuracyDomain([...reference, ...rows.map(({ entry }) => entry.top1 * 100)]);
  const shown = ({ entry }: BackendRow) => Math.max(domain[0], entry.top1 * 100);
  return (width) =>
    draw({
      width,
      height: rows.length * 22 + 64,
      marginLeft: Math.max(...rows.map(({ name }) => name.length)) * 6.6 + 14,
      marginRight: 66,
      marginTop: 24,
      marginBottom: 40,
      ariaLabel: 'Top-1 accuracy of each backend and scheme',
      x: {
        domain,
        label: 'top-1 (%)',
        labelAnchor: 'center',
        labelArrow: 'none',
        ticks: width < 500 ? 3 : 5,
      },
      y: { domain: rows.map(({ name }) => name), label: null, tickSize: 0 },
      marks: [
        Plot.ruleY(rows, { y: 'name', stroke: 'var(--grid)' }),
        Plot.ruleX(reference, { stroke: 'var(--muted)', strokeDasharray: '4 4' }),
        Plot.text(reference, {
          x: (value: number) => value,
          frameAnchor: 'top',
          dy: -16,
          text: () => 'fp32',
          fill: 'var(--muted)',
        }),
        Plot.dot(rows, {
          x: shown,
          y: 'name',
          r: 5,
          fill: ({ entry }: BackendRow) => schemeColour(entry.scheme),
          stroke: 'var(--surface)',
          strokeWidth: 1.5,
        }),
        Plot.text(rows, {
          frameAnchor: 'right',
          y: 'name',
          text: ({ entry }: BackendRow) => formatPercent(entry.top1),
          dx: 60,
          textAnchor: 'end',
          fill: 'var(--muted)',
          fontVariant: 'tabular-nums',
        }),
      ],
    });
}

function schemeColour(scheme: string | undefined): string {
  if (scheme === undefined) return 'var(--muted)';
  return scheme === 'static' ? 'var(--second)' : 'var(--accent)';
}

const largestRate = (points: readonly TrainingPoint[]): number =>
  Math.max(...points.map(({ lr }) => lr)) || 1;

/** `0`, `0.001`, `3e-5` */
function shortNumber(value: number): string {
  if (value === 0 || Math.abs(value) >= 0.001) return String(Number(value.toPrecision(3)));
  return value.toExponential().replace(/(\.\d\d)\d+/, '$1');
}

const curveFrame = (width: number, ariaLabel: string): PlotModule.PlotOptions => ({
  width,
  marginLeft: 52,
  marginRight: 18,
  marginTop: 26,
  marginBottom: 40,
  ariaLabel,
  x: { label: 'step', labelAnchor: 'center', labelArrow: 'none', ticks: width / 90, nice: false },
});

/** Mean over the last twentieth of the curve, at least five points, fewer at its beginning. */
export function runningMean(points: readonly TrainingPoint[]): TrainingPoint[] {
  const span = Math.max(5, Math.round(points.length / 20));
  let sum = 0;
  return points.map((point, i) => {
    sum += point.loss;
    if (i >= span) sum -= points[i - span]!.loss;
    return { ...point, loss: sum / Math.min(i + 1, span) };
  });
}

/** Evenly chosen points of a long curve, its last one included. */
export function thinned<T>(points: readonly T[]): T[] {
  if (points.length <= mostPoints) return [...points];
  return Array.from(
    { length: mostPoints },
    (_, i) => points[Math.round((i * (points.length - 1)) / (mostPoints - 1))]!,
  );
}
