import type { Hello, Manifest, OutcomeAnswer, ShownVariant } from '../protocol.ts';
import { obstacle, type Runner, runners, runnerTitle, threadsOf } from '../runners.ts';
import type { CellResult } from './cell.ts';

/** A cell as the page shows it. */
export interface Row {
  readonly variant: ShownVariant;
  readonly runner: Runner;
  readonly threads: number;
  state:
    | { readonly status: 'waiting' }
    | { readonly status: 'running' }
    | { readonly status: 'off'; readonly reason: string }
    | { readonly status: 'failed'; readonly reason: string }
    | { readonly status: 'measured'; readonly result: CellResult; readonly answer: OutcomeAnswer };
}

/** What this browser is to measure, in order, and what it can't. */
export function rowsOf({ variants, runners: wanted }: Manifest, abilities: Hello): Row[] {
  return variants.flatMap((variant) =>
    runners
      .filter(({ id, format }) => format === variant.format && wanted.includes(id))
      .map((runner): Row => {
        const reason = obstacle(runner, abilities);
        const state = reason ? ({ status: 'off', reason } as const) : ({ status: 'waiting' } as const);
        return { variant, runner, threads: threadsOf(runner, abilities), state };
      }),
  );
}

export const howOf = ({ runner, threads, state }: Row): string =>
  runnerTitle(runner, state.status === 'measured' ? state.result.threads : threads);

/** Rows with a number that counts: measured, and not wrong. */
export const measured = (rows: readonly Row[]) =>
  rows.flatMap((row) => (row.state.status === 'measured' ? [{ row, ...row.state }] : []));
