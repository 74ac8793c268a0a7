import { UserError } from '../common/errors.ts';

export interface ScheduleOptions {
  /** Peak learning rate. */
  lr: number;
  totalSteps: number;
  /** Share of the steps in which the rate rises linearly to its peak, 0 to below 1. */
  warmup: number;
  /** Steps after which `step` multiplies the rate, by `decayRate`. */
  decaySteps?: number;
  decayRate?: number;
}

/** What is left of the peak after so many of the steps that follow the warm-up. */
type Course = (step: number, steps: number, options: ScheduleOptions) => number;

export type ScheduleName = 'cosine' | 'step' | 'constant';

/** The schedules by name. */
export const schedules: Record<ScheduleName, Course> = {
  /** Half a cosine down to zero (SGDR without restarts, arXiv 1608.03983). */
  cosine: (step, steps) => (1 + Math.cos(Math.PI * Math.min(1, step / Math.max(1, steps)))) / 2,
  /** A power of the decay rate, as torch.optim.lr_scheduler.StepLR; counted from the first step, warm-up included. */
  step: (step, steps, { totalSteps, decaySteps = totalSteps, decayRate = 0.1 }) =>
    decayRate ** Math.floor((step + totalSteps - steps) / decaySteps),
  constant: () => 1,
};

/**
 * A linear warm-up, then the course of the schedule, step by step.
 * @returns the learning rate of update `step` (0, 1, ...)
 * @throws UserError on a rate that is not positive or a warm-up outside 0..1
 */
export function scheduleOf(name: ScheduleName, options: ScheduleOptions): (step: number) => number {
  const { lr, totalSteps, warmup } = options;
  if (!(lr > 0 && Number.isFinite(lr))) throw new UserError(`learning rate ${lr} must be above 0`);
  if (!(warmup >= 0 && warmup < 1))
    throw new UserError(`warm-up ${warmup} is a share of the steps, 0 to below 1`);
  const rising = Math.round(warmup * totalSteps);
  const course = schedules[name];
  return (step) =>
    step < rising ? (lr * (step + 1)) / rising : lr * course(step - rising, totalSteps - rising, options);
}

/** Updates between two steps of the schedule `step`. */
export const decaySteps = (
  { decayEpochs, epochs }: { decayEpochs: number; epochs: number },
  totalSteps: number,
): number => Math.max(1, Math.round((decayEpochs * totalSteps) / epochs));
