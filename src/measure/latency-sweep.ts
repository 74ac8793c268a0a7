import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import type { LatencyTable, PieceRequest, Sweep } from '../prune/latency-table.ts';
import { quantile } from './quantile.ts';

/**
 * Times graphs side by side, round after round.
 * @returns for each graph the milliseconds of each round
 */
export type TimeGraphs = (graphs: readonly Graph[]) => Promise<readonly (readonly number[])[]>;

/** Standard error of a median that is good enough, of the median. */
const goodEnough = 0.01;

/**
 * Whether medians are known to 1 %: by the median absolute deviation, of the ratios to the first graph, and of the times
 * of one that stands alone. A machine with other work to do takes more rounds.
 */
export function settled(times: readonly (readonly number[])[]): boolean {
  const [first, ...others] = times;
  if (others.length === 0) return isSettled(first!);
  return others.every((of) => isSettled(of.map((milliseconds, round) => milliseconds / first![round]!)));
}

function isSettled(values: readonly number[]): boolean {
  const median = quantile(values, 0.5);
  const deviations = values.map((value) => Math.abs(value - median));
  // Of normal numbers: 1.48 deviations are one sigma, and a median has 1.25 times the error of a mean.
  const error = (1.25 * 1.48 * quantile(deviations, 0.5)) / Math.sqrt(values.length);
  return error <= goodEnough * median;
}

/** Widths that are timed side by side with the piece as it is. */
const sideBySide = 7;

/**
 * Measures what a table lacks of some pieces, and adds it. The pieces as they are are timed first, all in the same
 * rounds; then every few widths together with the whole piece: what counts is the median over rounds of the ratio to it, so that a machine that slows down meanwhile does not
 * bend the curve. What was measured is in the table at once, and `save` is told: an interrupted sweep goes on there.
 */
export async function sweepLatency(
  table: LatencyTable,
  requests: readonly PieceRequest[],
  time: TimeGraphs,
  { progress, save }: { progress: Progress; save(table: LatencyTable): void },
): Promise<void> {
  const fresh = requests.filter(({ key }) => !table.pieces[key]);
  const runs = requests.flatMap((request) => missingOf(table, request));
  const total = runs.reduce((sum, { widths }) => sum + widths.length, fresh.length);
  if (total === 0) return;
  const task = progress.task('latency table', total, 'graphs');
  let done = 0;
  const add = (count: number, piece: string) => {
    save(table);
    done += count;
    task.update(done, { piece });
  };
  try {
    if (fresh.length > 0) {
      const times = await time(fresh.map((request) => request.graph()));
      for (const [i, request] of fresh.entries()) addWhole(table, request, quantile(times[i]!, 0.5));
      add(fresh.length, 'all');
    }
    for (const { request, sweep, widths } of runs) {
      const narrow = widths.map((width) => request.graph({ sweep, width }));
      const [whole, ...times] = await time([request.graph(), ...narrow]);
      const piece = table.pieces[request.key]!;
      const { points } = piece.sweeps[sweep]!;
      for (const [i, width] of widths.entries()) {
        const ratios = times[i]!.map((milliseconds, round) => milliseconds / whole![round]!);
        points.push([width, piece.milliseconds * quantile(ratios, 0.5)]);
      }
      points.sort(([a], [b]) => a - b);
      add(widths.length, request.name);
    }
  } finally {
    task.done();
  }
}

/** What is to be timed side by side: widths of each sweep of a piece that a table does not have. */
function missingOf(table: LatencyTable, request: PieceRequest) {
  return request.sweeps.flatMap((asked, sweep) => {
    const known = table.pieces[request.key]?.sweeps[sweep]?.points.map(([width]) => width);
    const widths = asked.widths.filter((width) => !known?.includes(width));
    return Array.from({ length: Math.ceil(widths.length / sideBySide) }, (_, i) => ({
      request,
      sweep,
      widths: widths.slice(i * sideBySide, (i + 1) * sideBySide),
    }));
  });
}

function addWhole(table: LatencyTable, { key, name, sweeps }: PieceRequest, milliseconds: number): void {
  table.pieces[key] = {
    name,
    milliseconds,
    sweeps: sweeps.map(({ kind, units }): Sweep => ({ kind, units, points: [[units, milliseconds]] })),
  };
}
