import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import type { Updated } from './updated.ts';

/** Constants of stochastic gradient descent. */
export interface SgdOptions {
  /** Share of the last step that goes on; default 0.9. */
  momentum?: number;
  /** Whether the gradient is that of where momentum leads; default no. */
  nesterov?: boolean;
}

export const sgdDefaults = { momentum: 0.9, nesterov: false };

/** The scalars of a step: the learning rate, and the weight decay that joins the gradient. */
export const sgdScalars = (_step: number, lr: number, weightDecay: number): Record<string, number> => ({
  lr,
  decay: weightDecay,
});

/**
 * One step of one parameter, as torch.optim.SGD without dampening (Sutskever et al., 2013):
 *
 *     d = g + decay p        m' = momentum m + d        p' = p - lr m'
 *
 * and with Nesterov's momentum `p' = p - lr (d + momentum m')`.
 */
export function sgdUpdate(
  b: Builder,
  { parameter, gradient, state, decays, rate }: Updated,
  scalars: Readonly<Record<string, Value>>,
  { momentum = sgdDefaults.momentum, nesterov = sgdDefaults.nesterov }: SgdOptions,
): { parameter: Value; state: Record<string, Value> } {
  const direction = decays ? b.op('Add', [gradient, b.op('Mul', [parameter, scalars.decay])]) : gradient;
  const m = b.op('Add', [b.op('Mul', [state.m, b.scalar(momentum)]), direction]);
  const step = nesterov ? b.op('Add', [direction, b.op('Mul', [m, b.scalar(momentum)])]) : m;
  const lr = rate === 1 ? scalars.lr : b.op('Mul', [scalars.lr, b.scalar(rate)]);
  return { parameter: b.op('Sub', [parameter, b.op('Mul', [step, lr])]), state: { m } };
}
