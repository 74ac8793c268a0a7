import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import type { Updated } from './updated.ts';

/** AdamW's constants (Loshchilov and Hutter, arXiv 1711.05101); defaults as PyTorch's. */
export interface AdamWOptions {
  beta1?: number;
  beta2?: number;
  epsilon?: number;
}

export const adamWDefaults = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

/**
 * One AdamW step of one parameter, in the fewest passes over memory: the moments are kept as decaying
 * sums rather than means (`M = m / (1 - beta1)`, `V = v / (1 - beta2)`), and all constants that
 * belong to the whole tensor are joined in two scalars (`adamWScalars`):
 *
 *     M' = beta1 M + g          V' = beta2 V + g g
 *     p' = keep p - stepSize M' / (sqrt(V') + epsilon)
 */
export function adamWUpdate(
  b: Builder,
  { parameter, gradient, state, decays, rate }: Updated,
  scalars: Readonly<Record<string, Value>>,
  { beta1 = adamWDefaults.beta1, beta2 = adamWDefaults.beta2 }: AdamWOptions,
): { parameter: Value; state: Record<string, Value> } {
  const m = b.op('Add', [b.op('Mul', [state.m, b.scalar(beta1)]), gradient]);
  const v = b.op('Add', [b.op('Mul', [state.v, b.scalar(beta2)]), b.op('Mul', [gradient, gradient])]);
  const deviation = b.op('Add', [b.op('Sqrt', [v]), scalars.epsilon]);
  const stepSize = rate === 1 ? scalars.stepSize : b.op('Mul', [scalars.stepSize, b.scalar(rate)]);
  const step = b.op('Mul', [b.op('Div', [m, deviation]), stepSize]);
  const kept = decays ? b.op('Mul', [parameter, keptShare(b, scalars.keep, rate)]) : parameter;
  return { parameter: b.op('Sub', [kept, step]), state: { m, v } };
}

/** What weight decay leaves where the rate is another: `1 - rate (1 - keep)`. */
function keptShare(b: Builder, keep: Value | undefined, rate: number): Value | undefined {
  if (rate === 1) return keep;
  return b.op('Add', [b.op('Mul', [keep, b.scalar(rate)]), b.scalar(1 - rate)]);
}

/**
 * The scalars of step `step` (1, 2, ...), so that the update equals AdamW's with bias correction.
 * @param lr learning rate of this step
 */
export function adamWScalars(
  step: number,
  lr: number,
  weightDecay: number,
  options: AdamWOptions = {},
): Record<'stepSize' | 'epsilon' | 'keep', number> {
  const { beta1, beta2, epsilon } = { ...adamWDefaults, ...options };
  const scale = Math.sqrt((1 - beta2) / (1 - beta2 ** step));
  return {
    stepSize: (lr * (1 - beta1)) / (1 - beta1 ** step) / scale,
    epsilon: epsilon / scale,
    keep: 1 - lr * weightDecay,
  };
}

/** Whether weight decay applies to a parameter by its shape: not to biases, norms and other vectors. */
export const decays = (shape: readonly number[]): boolean => shape.filter((dim) => dim > 1).length >= 2;
