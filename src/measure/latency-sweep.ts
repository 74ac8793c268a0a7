import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import type { LatencyTable, PieceRequest, Sweep } from '../prune/latency-table.ts';
import { quantile } from './quantile.ts';

/**
 * Times graphs side by side, round after round.
 * @returns for each graph the milliseconds of each round
 */
export type TimeGraphs = (graphs: readonly Graph[]) => Promise<readonly (readonly number[])[]>;

/**
 * What undisturbed runs take: the lower quartile. Others at work on the machine only ever make runs longer.
 */
export const undisturbed = (milliseconds: readonly number[]): number => quantile(milliseconds, 0.25);

/**
 * Whether runs of each graph have found what it takes: their lower quartile is within 1.5 % of their first decile. A
 * machine with other work to do takes more rounds.
 */
export const settled = (times: readonly (readonly number[])[]): boolean =>
  times.every((of) => undisturbed(of) <= 1.015 * quantile(of, 0.1));

/** Widths that are timed side by side with the piece as it is. */
const sideBySide = 7;

/**
 * Measures what a table lacks of some pieces, and adds it. The pieces as they are are timed first, all in the same
 * rounds; then every few widths together with the whole piece: what counts is the ratio to that, so that a machine that
 * slows down meanwhile does not bend the curve. What was measured is in the table at once, and `save` is told: an
 * interrupted sweep goes on there.
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
      for (const [i, request] of fresh.entries()) addWhole(table, request, undisturbed(times[i]!));
      add(fresh.length, 'all');
    }
    for (const { request, sweep, widths } of runs) {
      const narrow = widths.map((width) => request.graph({ sweep, width }));
      const [whole, ...times] = await time([request.graph(), ...narrow]);
      const piece = table.pieces[request.key]!;
      const { points } = piece.sweeps[sweep]!;
      for (const [i, width] of widths.entries()) {
        const share = undisturbed(times[i]!) / undisturbed(whole!);
        points.push([width, piece.milliseconds * share]);
      }
      points.sort(([a], [b]) => a - b);
      add(widths.length, request.name);
    }
  } finally {
    task.done();
  }
}

/**
 * What is to be timed side by side: widths of each sweep of a piece that a table does not have. Those that are timed
 * together lie far apart, so that what disturbs them is no bend of the curve.
 */
function missingOf(table: LatencyTable, request: PieceRequest) {
  return request.sweeps.flatMap((asked, sweep) => {
    const known = table.pieces[request.key]?.sweeps[sweep]?.points.map(([width]) => width);
    const missing = asked.widths.filter((width) => !known?.includes(width));
    const runs = Math.ceil(missing.length / sideBySide);
    return Array.from({ length: runs }, (_, run) => ({
      request,
      sweep,
      widths: missing.filter((_, i) => i % runs === run),
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
