import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { type AdamWOptions, adamWScalars, adamWUpdate } from './adamw.ts';
import { type SgdOptions, sgdScalars, sgdUpdate } from './sgd.ts';
import type { Updated } from './updated.ts';

/** Constants of an optimizer. */
export interface OptimizerSettings extends AdamWOptions, SgdOptions {}

/** A way to update parameters, as part of a training graph. */
export interface Optimizer {
  /** What it keeps of each parameter, in the parameter's shape and 0 at first. */
  readonly state: readonly string[];
  /** What its update reads that changes from step to step (1, 2, ...), as scalars `[]`. */
  scalars(step: number, lr: number, weightDecay: number, settings: OptimizerSettings): Record<string, number>;
  /** The parameter and its state after the step. */
  update(
    b: Builder,
    updated: Updated,
    scalars: Readonly<Record<string, Value>>,
    settings: OptimizerSettings,
  ): { parameter: Value; state: Record<string, Value> };
}

export type OptimizerName = 'adamw' | 'sgd';

/** The optimizers by name. */
export const optimizers: Record<OptimizerName, Optimizer> = {
  adamw: { state: ['m', 'v'], scalars: adamWScalars, update: adamWUpdate },
  sgd: { state: ['m'], scalars: sgdScalars, update: sgdUpdate },
};

export const optimizerOf = (name: OptimizerName = 'adamw'): Optimizer => optimizers[name];
