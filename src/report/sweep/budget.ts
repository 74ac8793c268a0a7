import * as z from 'zod';
import { cost, type SweepRow } from './rows.ts';

/** What a model must keep to, each where it is given. */
export const budgetOptions = z.strictObject({
  maxDrop: z.number().min(0).optional().meta({
    description: 'points of top-1 that may be lost',
    value: 'points',
  }),
  targetLatency: z.number().gt(0).optional().meta({
    description: 'milliseconds that one image may take here, at the median',
    value: 'ms',
  }),
  targetMacs: z.number().gt(0).optional().meta({
    description: 'GMACs that may be left',
    value: 'g',
  }),
  targetBytes: z.number().int().min(1).optional().meta({
    description: 'bytes that the file may have',
    value: 'n',
  }),
});

export type Budget = z.output<typeof budgetOptions>;

/** How much smaller something is to be than it is; `points`, `ms`, `GMACs` or `bytes` too much. */
export interface Shortfall {
  readonly budget: keyof Budget;
  /** What was asked for, in the unit of the option. */
  readonly asked: number;
  /** The nearest that was found. */
  readonly found: number;
}

/** How a budget reads a row, in the unit of its option. */
const figures: Readonly<Record<keyof Budget, (row: SweepRow, dense: SweepRow) => number | null>> = {
  maxDrop: (row, dense) => 100 * (dense.top1 - row.top1),
  targetLatency: ({ latencyMs }) => latencyMs,
  targetMacs: ({ macs }) => macs / 1e9,
  targetBytes: ({ bytes }) => bytes,
};

const asked = (budget: Budget): [keyof Budget, number][] =>
  (Object.keys(figures) as (keyof Budget)[]).flatMap((name) =>
    budget[name] === undefined ? [] : [[name, budget[name]]],
  );

/** By how much a row misses each part of a budget that it misses. */
export const misses = (row: SweepRow, dense: SweepRow, budget: Budget): Shortfall[] =>
  asked(budget).flatMap(([name, limit]) => {
    const found = figures[name](row, dense);
    return found !== null && found <= limit
      ? []
      : [{ budget: name, asked: limit, found: found ?? Number.NaN }];
  });

export interface Choice {
  /** The best row that keeps to the budget; null where none does. */
  readonly best: SweepRow | null;
  /** Where none does: the row that comes nearest, and what it misses. */
  readonly nearest: SweepRow | null;
  readonly shortfall: readonly Shortfall[];
}

/**
 * The best model under a budget: with `maxDrop` the fastest that keeps to it, else the most accurate. Nothing without a
 * budget. The nearest miss is the one whose largest excess, as a share of what was asked, is smallest.
 */
export function chosen(rows: readonly SweepRow[], dense: SweepRow, budget: Budget): Choice {
  const parts = asked(budget);
  if (parts.length === 0) return { best: null, nearest: null, shortfall: [] };
  const within = rows.filter((row) => misses(row, dense, budget).length === 0);
  if (within.length > 0) {
    const [best] = within.toSorted((a, b) =>
      budget.maxDrop === undefined
        ? b.top1 - a.top1 || cost(a) - cost(b)
        : cost(a) - cost(b) || b.top1 - a.top1,
    );
    return { best: best!, nearest: null, shortfall: [] };
  }
  const excess = (row: SweepRow) =>
    Math.max(
      ...misses(row, dense, budget).map(({ asked, found }) => (found - asked) / Math.max(asked, 1e-9)),
    );
  const [nearest] = rows.toSorted((a, b) => excess(a) - excess(b));
  return { best: null, nearest: nearest ?? null, shortfall: nearest ? misses(nearest, dense, budget) : [] };
}

const words: Readonly<Record<keyof Budget, (value: number) => string>> = {
  maxDrop: (value) => `${value.toFixed(2)} points of top-1 lost`,
  targetLatency: (value) => `${value.toPrecision(3)} ms`,
  targetMacs: (value) => `${value.toPrecision(3)} GMACs`,
  targetBytes: (value) => `${value.toLocaleString('en')} bytes`,
};

/** What is missed, as a text: `1.32 points of top-1 lost, 0.32 more than asked`. */
export const shortfallText = (shortfall: readonly Shortfall[]): string =>
  shortfall
    .map(
      ({ budget, asked: limit, found }) =>
        `${words[budget](found)}, ${words[budget](found - limit).replace(' of top-1 lost', '')} more than asked`,
    )
    .join('; ');
