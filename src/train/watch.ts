import type { EpochRecord, History, StepRecord } from './checkpoint.ts';

/** A training that begins, or goes on. */
export interface WatchedRun {
  /** The model's name. */
  readonly name: string;
  readonly epochs: number;
  readonly totalSteps: number;
  readonly imagesAStep: number;
  /** What was done before this process. Grows while it trains; not to be changed. */
  readonly history: History;
}

/** Who follows a training, step by step. What it does must take no time worth mentioning. */
export interface TrainingWatcher {
  begin(run: WatchedRun): void;
  step(record: StepRecord): void;
  epoch(record: EpochRecord): void;
  /** Training has ended, was stopped, or failed. */
  end(): void;
}

/** Tells all of several. */
export const watchAll = (watchers: readonly TrainingWatcher[]): TrainingWatcher => ({
  begin: (run) => watchers.forEach((watcher) => void watcher.begin(run)),
  step: (record) => watchers.forEach((watcher) => void watcher.step(record)),
  epoch: (record) => watchers.forEach((watcher) => void watcher.epoch(record)),
  end: () => watchers.forEach((watcher) => void watcher.end()),
});
