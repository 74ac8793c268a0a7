import type { Tensors } from '../runtime/session.ts';

/** One update. */
export interface StepRecord {
  /** Updates made, this one included. */
  step: number;
  epoch: number;
  loss: number;
  lr: number;
  gradNorm: number;
}

/** One pass over the training images. */
export interface EpochRecord {
  /** 1, 2, ... */
  epoch: number;
  /** Mean training loss. */
  loss: number;
  /** Share of training images predicted as their most likely target, while they were trained on; of classifiers. */
  trainTop1?: number;
  /** Share of held-out images predicted right, where that was asked for; with `qat` as int8 would. */
  top1?: number;
}

export interface History {
  steps: StepRecord[];
  epochs: EpochRecord[];
}

/** How far training has come: everything besides the numbers. */
export interface TrainingProgress {
  /** The options that decide the result, as text; training is only resumed under the same. */
  recipe: string;
  step: number;
  /** Full passes made. */
  epoch: number;
  /** Batches of the present pass that are done. */
  batch: number;
  /** Sums over the present pass. */
  lossSum: number;
  correct: number;
  images: number;
  history: History;
  /** The epoch that was best on held-out images, where that is looked for; its weights are among the tensors. */
  best?: { epoch: number; top1: number };
}

/** A point from which training continues to the same result. */
export interface TrainingCheckpoint {
  /** Parameters and the optimizer's state by slot name; the best weights under `best.NAME`. */
  tensors: Tensors;
  progress: TrainingProgress;
}

/** Where checkpoints are kept. Only the last one is. */
export interface CheckpointStore {
  /** The last checkpoint; undefined when there is none. */
  load(): Promise<TrainingCheckpoint | undefined>;
  /** Replaces the last checkpoint, whole or not at all. */
  save(checkpoint: TrainingCheckpoint): Promise<void>;
}
