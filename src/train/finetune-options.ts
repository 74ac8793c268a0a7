import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import type { Augmentation } from '../dataset/augmentation.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import type { Kept } from '../prune/apply.ts';
import type { CalibrationData } from '../quantize/calibrate.ts';
import { int8Keys, quantizeOptions } from '../quantize/quantize.ts';
import { batchNormModes } from './batch-norm.ts';
import { distillKinds } from './loss.ts';
import { tasks } from './objective.ts';
import { type OptimizerName, optimizers } from './optimizer.ts';
import { type ScheduleName, schedules } from './schedule.ts';

const share = (description: string) => z.number().min(0).lt(1).meta({ description, value: 'share' });

/** How a model is trained further. */
export const finetuneOptions = z.strictObject({
  task: z.enum(tasks).optional().meta({
    description:
      "classify: learn the labels, and from a teacher beside them; distill: learn a teacher's outputs, whatever they are, without labels; left out: classify where the model has a classifier",
    value: 'what',
  }),
  epochs: z.number().int().min(1).meta({ description: 'passes over the training images' }),
  batchSize: z.number().int().min(1).default(64).meta({
    description: 'images a training step; a last batch that is not full is left out',
  }),
  accumulate: z.number().int().min(1).default(1).meta({
    description: 'batches whose gradients make one update',
  }),
  optimizer: z
    .enum(Object.keys(optimizers) as [OptimizerName])
    .default('adamw')
    .meta({
      description: 'adamw, or sgd: stochastic gradient descent with momentum',
      value: 'name',
    }),
  momentum: share('share of the last step of sgd that goes on').default(0.9),
  nesterov: z.boolean().default(false).meta({
    description: 'sgd takes the gradient of where its momentum leads',
  }),
  lr: z.number().gt(0).default(3e-4).meta({
    description: 'peak learning rate, to which it rises linearly',
  }),
  schedule: z
    .enum(Object.keys(schedules) as [ScheduleName])
    .default('cosine')
    .meta({
      description:
        'the learning rate after it has risen: cosine: down to zero; step: times the decay rate every so many epochs; constant',
      value: 'name',
    }),
  decayEpochs: z.number().gt(0).default(30).meta({
    description: 'epochs between two steps of the schedule step',
    value: 'n',
  }),
  decayRate: z.number().gt(0).lte(1).default(0.1).meta({
    description: 'what the schedule step multiplies the learning rate by',
    value: 'x',
  }),
  dropPath: share(
    'how likely a residual branch of the last block is left out for an image, rising linearly from 0 in the first; 0: never',
  ).default(0),
  layerDecay: z.number().gt(0).lte(1).default(1).meta({
    description: 'each layer learns so many times as fast as the one behind it; 1: all alike',
    value: 'x',
  }),
  batchNorm: z.enum(batchNormModes).optional().meta({
    description:
      'train: batch norms normalize by the statistics of each batch and learn them; frozen: by those that they have; left out: train with batches of 16 images and more, and for a model that has not learned any yet',
    value: 'how',
  }),
  emaDecay: share(
    'share of the running mean of the weights that stays in a step; the mean is what is measured and kept; 0: no mean',
  ).default(0),
  best: z.boolean().default(false).meta({
    description:
      'keep the weights of the epoch that is best on held-out images, not the last; never chosen on a test set',
  }),
  patience: z.number().int().min(1).optional().meta({
    description: 'end after so many epochs that are no better on held-out images than the best before',
  }),
  warmup: share('share of the steps in which the learning rate rises').default(0.1),
  weightDecay: z.number().min(0).default(0.05).meta({
    description: 'weight decay, not on norms and biases',
  }),
  clipNorm: z.number().min(0).default(1).meta({
    description: 'gradients are scaled down to this global norm; 0: never',
  }),
  labelSmoothing: share('probability that the targets give to the other classes').default(0.1),
  repeatedAugment: z.number().int().min(1).default(1).meta({
    description:
      'each image is in an epoch so many times, changed anew each time, and so many times fewer of them are; 1: all, once',
  }),
  mixup: z.number().min(0).default(0).meta({
    description: 'alpha of mixup, which blends pairs of images; 0: off',
    value: 'alpha',
  }),
  cutmix: z.number().min(0).default(0).meta({
    description: 'alpha of CutMix, which pastes a part of one image into another; 0: off',
    value: 'alpha',
  }),
  mixProb: z.number().min(0).max(1).default(1).meta({
    description: 'share of the batches that mixup and CutMix change',
    value: 'share',
  }),
  distill: z.number().min(0).max(1).optional().meta({
    description: 'weight of the teacher in the loss; left out: 0.5 where there is a teacher',
  }),
  distillKind: z.enum(distillKinds).default('soft').meta({
    description:
      'what is learnt of a teacher: how likely it finds each class (soft), the class that it would choose (hard), or what its blocks hand on, of the channels that pruning has kept (feature)',
    value: 'what',
  }),
  temperature: z.number().gt(0).default(1).meta({
    description: "softens the teacher's and the model's predictions for each other, of soft distillation",
  }),
  limit: z.number().int().min(1).optional().meta({
    description: 'train on this many images an epoch; left out: all',
  }),
  recompute: z.boolean().default(false).meta({
    description:
      'compute activations again for the backward pass instead of keeping them: less memory, more time, the same weights',
  }),
  workers: z.number().int().min(0).max(256).default(0).meta({
    description:
      'threads that decode and change training images, the same ones whatever their number; 0: none of their own, which is best for small images',
  }),
  qat: z.boolean().default(false).meta({
    description:
      'quantization-aware: every linear layer computes with the int8 numbers that it will have, and epochs are measured so; what is kept is float32',
  }),
  ...quantizeOptions.pick(int8Keys).shape,
});

export type FinetuneOptions = z.input<typeof finetuneOptions> & {
  /** How images become inputs; the model's own. */
  preprocessing: Preprocessing;
  augment?: Augmentation;
  /** A model with the same input and classes whose softened predictions join the targets. */
  teacher?: Graph;
  /** What pruning has kept of the teacher, where its features are learnt. */
  kept?: Kept | undefined;
  /** Images that the ranges of static int8 are found on, where it is trained for that. */
  calibration?: CalibrationData;
  /** Measure top-1 on the held-out images after every epoch. */
  evaluate?: boolean;
  seed: number;
  threads?: number;
};

/** The options with every default filled in. */
export type Settings = Omit<FinetuneOptions, keyof typeof finetuneOptions.shape> &
  z.output<typeof finetuneOptions>;

/** @throws UserError on a wrong option, or options that contradict each other */
export function settingsOf(options: FinetuneOptions): Settings {
  const { preprocessing, augment, teacher, kept, calibration, evaluate, seed, threads, ...input } = options;
  const settings = {
    ...validated(finetuneOptions, input),
    preprocessing,
    augment,
    teacher,
    kept,
    calibration,
    evaluate,
    seed,
    threads,
  };
  if (settings.distillKind !== 'soft' && !teacher) {
    throw new UserError(
      `${settings.distillKind} distillation learns from a teacher: give one (--teacher), such as the model before pruning`,
    );
  }
  if (settings.task === 'distill') assertDistills(settings);
  return settings;
}

function assertDistills({ teacher, mixup, cutmix, distill, distillKind }: Settings): void {
  if (!teacher) {
    throw new UserError(
      'the task distill learns from a teacher: give one (--teacher), such as the model before pruning',
    );
  }
  if (mixup || cutmix) {
    throw new UserError('mixup and cutmix blend labels, of which the task distill has none: leave them out');
  }
  if (distill !== undefined && distill !== 1) {
    throw new UserError(
      `the task distill learns from the teacher alone: distill ${distill} has no meaning, 1 has`,
    );
  }
  if (distillKind === 'hard') {
    throw new UserError('hard distillation learns classes, which the task distill knows nothing of');
  }
}
