import { UserError } from '../common/errors.ts';

export interface CosineOptions {
  /** Peak learning rate. */
  lr: number;
  totalSteps: number;
  /** Share of the steps in which the rate rises linearly to its peak, 0 to below 1. */
  warmup: number;
}

/**
 * Linear warm-up, then half a cosine down to zero (SGDR without restarts, arXiv 1608.03983), step by step.
 * @returns the learning rate of update `step` (0, 1, ...)
 * @throws UserError on a rate that is not positive or a warm-up outside 0..1
 */
export function cosineSchedule({ lr, totalSteps, warmup }: CosineOptions): (step: number) => number {
  if (!(lr > 0 && Number.isFinite(lr))) throw new UserError(`learning rate ${lr} must be above 0`);
  if (!(warmup >= 0 && warmup < 1))
    throw new UserError(`warm-up ${warmup} is a share of the steps, 0 to below 1`);
  const rising = Math.round(warmup * totalSteps);
  return (step) => {
    if (step < rising) return (lr * (step + 1)) / rising;
    const progress = (step - rising) / Math.max(1, totalSteps - rising);
    return (lr * (1 + Math.cos(Math.PI * Math.min(1, progress)))) / 2;
  };
}
