import type { Value } from '../graph/graph.ts';

/** A parameter in the update. */
export interface Updated {
  readonly parameter: Value;
  readonly gradient: Value;
  /** What is kept of it, by name. */
  readonly state: Readonly<Record<string, Value>>;
  /** Whether weight decay applies. */
  readonly decays: boolean;
  /** Of the step, besides what the scalars say; 1 where all parameters learn equally fast. */
  readonly rate: number;
}
