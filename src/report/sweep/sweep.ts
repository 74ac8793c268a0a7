import type { Machine } from '../../measure/machine.node.ts';
import type { Shortfall } from './budget.ts';
import type { SweepRow } from './rows.ts';

/** `sweep.json`. */
export interface Sweep {
  readonly model: string;
  readonly data: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly machine: Machine;
  /** The split that accuracy was measured on. */
  readonly measuredOn: string;
  /** The model as it came. */
  readonly dense: SweepRow;
  readonly rows: readonly SweepRow[];
  /** Those that no other is better than in accuracy and latency at once. */
  readonly front: readonly SweepRow[];
  /** The best under the budget, where one was given and can be met; its model is in `best/`. */
  readonly best: SweepRow | null;
  /** What the nearest misses of a budget that nothing meets. */
  readonly nearest: SweepRow | null;
  readonly shortfall: readonly Shortfall[];
}
