import type { Compensation } from '../../prune/compensate.ts';
import type { Importance } from '../../prune/importance.ts';
import type { precisions } from '../../quantize/record.ts';

/** One model that was tried: how it was made. */
export interface Cell {
  /** Share of the channels taken out; 0 for the model as it came. */
  readonly ratio: number;
  readonly importance: Importance;
  readonly compensate: Compensation;
  readonly dtype: 'fp32' | (typeof precisions)[number];
  readonly seed: number;
}

/** And what was measured of it. */
export interface MeasuredCell extends Cell {
  readonly top1: number;
  readonly samples: number;
  readonly parameters: number;
  readonly macs: number;
  readonly bytes: number;
  /** What it would take the same time as: models of equal number type and size. */
  readonly shape: string;
}

/** Cells that differ by their seed alone. */
export interface SweepRow extends Omit<Cell, 'seed'> {
  readonly seeds: number;
  /** Mean over the seeds, a share. */
  readonly top1: number;
  /** Standard error of the mean; null of one seed. */
  readonly top1Error: number | null;
  readonly samples: number;
  readonly parameters: number;
  readonly macs: number;
  readonly bytes: number;
  readonly shape: string;
  /** Milliseconds an image at the median; null where it was not timed. */
  readonly latencyMs: number | null;
}

/** A row for each way of making a model, in the order in which they came. */
export function rowsOf(cells: readonly MeasuredCell[], latency: ReadonlyMap<string, number>): SweepRow[] {
  const ways = new Map<string, MeasuredCell[]>();
  for (const cell of cells) {
    const { ratio, importance, compensate, dtype } = cell;
    const way = JSON.stringify([ratio, importance, compensate, dtype]);
    ways.set(way, [...(ways.get(way) ?? []), cell]);
  }
  return [...ways.values()].map((members) => {
    const { seed: _, top1: __, ...first } = members[0]!;
    const top1 = members.reduce((sum, cell) => sum + cell.top1, 0) / members.length;
    const squares = members.reduce((sum, cell) => sum + (cell.top1 - top1) ** 2, 0);
    const error = Math.sqrt(squares / (members.length - 1) / members.length);
    return {
      ...first,
      seeds: members.length,
      top1,
      top1Error: members.length > 1 ? error : null,
      latencyMs: latency.get(first.shape) ?? null,
    };
  });
}

/** What a model costs: its time where that was measured, else its multiply-accumulates. */
export const cost = ({ latencyMs, macs }: SweepRow): number => latencyMs ?? macs;

/** Those that no other is better than in accuracy and cost at once, cheapest first. */
export function paretoFront(rows: readonly SweepRow[]): SweepRow[] {
  const front: SweepRow[] = [];
  for (const row of rows.toSorted((a, b) => cost(a) - cost(b) || b.top1 - a.top1)) {
    if (row.top1 > (front.at(-1)?.top1 ?? Number.NEGATIVE_INFINITY)) front.push(row);
  }
  return front;
}
