import { accuracyAxes, accuracyDomain, accuracyGrid } from '../accuracy-axes.ts';
import { type Drawing, loadDrawing } from '../plots.ts';
import type { SweepRow } from './rows.ts';
import { wayText } from './words.ts';

/** Draws top-1 against latency: a dot a model, a line through the front. Undefined where fewer than two were timed. */
export async function loadSweepPlot(): Promise<
  (rows: readonly SweepRow[], front: readonly SweepRow[]) => Drawing | undefined
> {
  const { Plot, draw } = await loadDrawing();
  return (rows, front) => {
    const timed = rows.filter(({ latencyMs }) => latencyMs !== null);
    if (timed.length < 2) return undefined;
    const percent = ({ top1 }: SweepRow) => 100 * top1;
    const y = accuracyDomain(timed.map(percent));
    const near = timed.filter((row) => percent(row) >= y[0]);
    const line = front.filter((row) => near.includes(row));
    const shown = [...near.filter((row) => !line.includes(row)), ...line];
    const slowest = Math.max(...timed.map(({ latencyMs }) => latencyMs!));
    return (width) =>
      draw({
        width,
        height: width < 500 ? 290 : 380,
        marginLeft: 52,
        marginRight: 18,
        marginTop: 28,
        marginBottom: 48,
        ariaLabel: 'Top-1 accuracy against median latency, a dot a model',
        ...accuracyAxes(width, [0, slowest * 1.1], y),
        marks: [
          ...accuracyGrid(Plot),
          Plot.line(line, { x: 'latencyMs', y: percent, stroke: 'var(--accent)', strokeWidth: 1.5 }),
          Plot.dot(shown, {
            x: 'latencyMs',
            y: percent,
            r: (row: SweepRow) => (line.includes(row) ? 5 : 3.5),
            fill: (row: SweepRow) => (line.includes(row) ? 'var(--accent)' : 'var(--second)'),
            stroke: 'var(--surface)',
            title: (row: SweepRow) =>
              `${wayText(row)}: ${percent(row).toFixed(2)} %, ${row.latencyMs!.toFixed(2)} ms`,
          }),
        ],
      });
  };
}
