import { z } from 'zod';
import { InterruptedError, UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Augmentation } from '../dataset/augment.ts';
import type { Batch, Split } from '../dataset/dataset.ts';
import { keepDecoded } from '../dataset/keep-decoded.ts';
import { batches } from '../dataset/loader.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import { evaluate } from '../measure/accuracy.ts';
import type { Engine, Session } from '../runtime/session.ts';
import type { CheckpointStore, History, TrainingProgress } from './checkpoint.ts';
import { cosineSchedule } from './schedule.ts';
import { Trainer } from './trainer.ts';

const share = (description: string) => z.number().min(0).lt(1).meta({ description, value: 'share' });

/** How a model is trained further. */
export const finetuneOptions = z.strictObject({
  epochs: z.number().int().min(1).meta({ description: 'passes over the training images' }),
  batchSize: z.number().int().min(1).default(64).meta({
    description: 'images a training step; a last batch that is not full is left out',
  }),
  accumulate: z.number().int().min(1).default(1).meta({
    description: 'batches whose gradients make one update',
  }),
  lr: z.number().gt(0).default(3e-4).meta({
    description: 'peak learning rate; it rises linearly and falls to zero along a cosine',
  }),
  warmup: share('share of the steps in which the learning rate rises').default(0.1),
  weightDecay: z.number().min(0).default(0.05).meta({
    description: 'weight decay of AdamW, not on norms and biases',
  }),
  clipNorm: z.number().min(0).default(1).meta({
    description: 'gradients are scaled down to this global norm; 0: never',
  }),
  labelSmoothing: share('probability that the targets give to the other classes').default(0.1),
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
    description: "weight of the teacher's soft targets in the loss; left out: 0.5 where there is a teacher",
  }),
  temperature: z.number().gt(0).default(1).meta({
    description: "softens the teacher's and the model's predictions for each other",
  }),
  limit: z.number().int().min(1).optional().meta({
    description: 'train on this many images an epoch; left out: all',
  }),
});

export type FinetuneOptions = z.input<typeof finetuneOptions> & {
  /** How images become inputs; the model's own. */
  preprocessing: Preprocessing;
  augment?: Augmentation;
  /** A model with the same input and classes whose softened predictions join the targets. */
  teacher?: Graph;
  /** Measure top-1 on the held-out images after every epoch. */
  evaluate?: boolean;
  seed: number;
  threads?: number;
};

/** The options with every default filled in. */
type Settings = Omit<FinetuneOptions, keyof typeof finetuneOptions.shape> & z.output<typeof finetuneOptions>;

function settingsOf(options: FinetuneOptions): Settings {
  const { preprocessing, augment, teacher, evaluate, seed, threads, ...input } = options;
  return { ...validated(finetuneOptions, input), preprocessing, augment, teacher, evaluate, seed, threads };
}

/** What surrounds the training: who is told, who may stop it, where it is kept. */
export interface FinetuneContext {
  progress?: Progress;
  /** Aborted: the step in work is finished, a checkpoint written, and `InterruptedError` thrown. */
  signal?: AbortSignal;
  /** Written after every epoch, and within one when so much time has passed. */
  checkpoints?: CheckpointStore;
  /** Seconds between checkpoints within an epoch; default 300. */
  checkpointEvery?: number;
  /** Go on from the last checkpoint, if there is one. */
  resume?: boolean;
}

export interface FinetuneResult {
  /** The model with its new weights. */
  graph: Graph;
  history: History;
}

/**
 * Trains a classifier further: AdamW, cosine schedule with warm-up, label smoothing, clipping, and, with a
 * teacher, distillation. The result is a function of model, data and options: a run that was interrupted
 * anywhere and resumed ends with the same weights, bit for bit.
 *
 * @param data what to train on; `val` is only read with `evaluate`
 * @throws UserError when the loss stops being finite (epoch and step are named; the last checkpoint
 *   stays), when a checkpoint is of other options, and on options that make no sense
 * @throws InterruptedError when `signal` was aborted
 */
export async function finetune(
  engine: Engine,
  graph: Graph,
  data: { readonly train: Split; readonly val: Split },
  input: FinetuneOptions,
  context: FinetuneContext = {},
): Promise<FinetuneResult> {
  const options = settingsOf(input);
  const { progress = silent, checkpoints } = context;
  const plan = planOf(data.train, options);
  const recipe = recipeOf(options, plan);
  const saved = context.resume ? await checkpoints?.load() : undefined;
  if (saved) checkRecipe(saved.progress.recipe, recipe);
  const { accumulate, clipNorm, teacher, threads, temperature } = options;
  const distillation = teacher && { weight: options.distill ?? 0.5, temperature };
  const trainer = await Trainer.create(
    engine,
    graph,
    { accumulate, clipNorm, distillation, threads },
    saved && { tensors: saved.tensors, step: saved.progress.step },
  );
  const teaching = teacher && (await engine.load(teacher, { threads }));
  try {
    const run = new Run(engine, graph, data, options, plan, trainer, teaching, context);
    if (saved) {
      run.at = saved.progress;
      progress.note(`resumed after epoch ${saved.progress.epoch}, batch ${saved.progress.batch}`);
    } else run.at.recipe = recipe;
    await run.all();
    return { graph: run.result(), history: run.at.history };
  } finally {
    await trainer.dispose();
    await teaching?.dispose();
  }
}

interface Plan {
  batchSize: number;
  imagesAnEpoch: number;
  /** Batches of an epoch that are used: a multiple of those that make an update. */
  batchesAnEpoch: number;
  totalSteps: number;
}

function planOf(train: Split, { epochs, batchSize, accumulate, limit }: Settings): Plan {
  const images = Math.min(limit ?? train.length, train.length);
  if (images === 0) throw new UserError(`${train.name} has no images to train on`);
  const size = Math.min(batchSize, Math.max(1, Math.floor(images / accumulate)));
  const updates = Math.floor(images / size / accumulate);
  const batchesAnEpoch = updates * accumulate;
  return {
    batchSize: size,
    imagesAnEpoch: batchesAnEpoch * size,
    batchesAnEpoch,
    totalSteps: updates * epochs,
  };
}

/** What decides the result, as text. */
function recipeOf(options: Settings, plan: Plan): string {
  const { teacher, threads: _, evaluate: __, ...rest } = options;
  return JSON.stringify({ ...rest, teacher: teacher?.name, ...plan });
}

/** A recipe by name. One written before an option was known was made with the option's default. */
function recipeFrom(text: string): Record<string, unknown> {
  const defaults = Object.entries(finetuneOptions.shape).map(([name, schema]): [string, unknown] => [
    name,
    schema.safeParse(undefined).data,
  ]);
  return { ...Object.fromEntries(defaults), ...(JSON.parse(text) as object) };
}

function checkRecipe(saved: string, wanted: string): void {
  const [a, b] = [recipeFrom(saved), recipeFrom(wanted)];
  const changed = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter(
    (key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]),
  );
  if (changed.length === 0) return;
  throw new UserError(
    `the checkpoint was made with other options (${changed.join(', ')}); start again without resuming, or use the same`,
  );
}

/** One training run in progress. */
class Run {
  at: TrainingProgress = {
    recipe: '',
    step: 0,
    epoch: 0,
    batch: 0,
    lossSum: 0,
    correct: 0,
    images: 0,
    history: { steps: [], epochs: [] },
  };
  readonly #schedule: (step: number) => number;
  readonly #progress: Progress;
  readonly #train: Split;
  #savedAt = performance.now();

  constructor(
    readonly engine: Engine,
    readonly graph: Graph,
    readonly data: { readonly train: Split; readonly val: Split },
    readonly options: Settings,
    readonly plan: Plan,
    readonly trainer: Trainer,
    readonly teacher: Session | undefined,
    readonly context: FinetuneContext,
  ) {
    const { lr, warmup } = options;
    this.#schedule = cosineSchedule({ lr, warmup, totalSteps: plan.totalSteps });
    this.#progress = context.progress ?? silent;
    this.#train = keepDecoded(data.train);
  }

  async all(): Promise<void> {
    const { epochs } = this.options;
    const { imagesAnEpoch } = this.plan;
    const bar = this.#progress.task('finetune', epochs * imagesAnEpoch, 'images');
    try {
      while (this.at.epoch < epochs) {
        await this.#epoch((loss, lr) => {
          bar.update(this.at.epoch * imagesAnEpoch + this.at.images, {
            epoch: `${this.at.epoch + 1}/${epochs}`,
            loss: loss.toFixed(4),
            lr: lr.toExponential(2),
          });
        });
      }
    } finally {
      bar.done();
    }
  }

  async #epoch(report: (loss: number, lr: number) => void): Promise<void> {
    const { at, options, plan } = this;
    const { accumulate } = options;
    for await (const batch of this.#batches()) {
      await this.#step(batch, report);
      if (at.batch === plan.batchesAnEpoch) break;
      if (at.batch % accumulate !== 0) continue;
      if (this.context.signal?.aborted) await this.#interrupted();
      if (performance.now() - this.#savedAt > 1000 * (this.context.checkpointEvery ?? 300))
        await this.#save();
    }
    at.epoch++;
    at.history.epochs.push({
      epoch: at.epoch,
      loss: at.lossSum / at.images,
      trainTop1: at.correct / at.images,
      top1: options.evaluate ? await this.#measure() : undefined,
    });
    Object.assign(at, { batch: 0, lossSum: 0, correct: 0, images: 0 });
    await this.#save();
    if (this.context.signal?.aborted && at.epoch < options.epochs) await this.#interrupted();
  }

  #batches(): AsyncIterable<Batch> {
    const { seed, augment, labelSmoothing, mixup, cutmix, mixProb, limit } = this.options;
    return batches(this.#train, this.options.preprocessing, {
      engine: this.engine,
      batchSize: this.plan.batchSize,
      shuffle: { seed, epoch: this.at.epoch },
      skipBatches: this.at.batch,
      dropLast: true,
      mixing: { classes: this.trainer.classes, labelSmoothing, mixup, cutmix, prob: mixProb },
      progress: this.#progress,
      augment,
      limit,
    });
  }

  async #step(batch: Batch, report: (loss: number, lr: number) => void): Promise<void> {
    const { at, trainer, options } = this;
    const outside = batch.labels.integers.find((label) => label >= trainer.classes);
    if (outside !== undefined) {
      throw new UserError(
        `${this.data.train.name} has label ${outside}, the model ${trainer.classes} classes`,
      );
    }
    const lr = this.#schedule(at.step);
    const targets = batch.targets!;
    const teacher = await this.#teach(batch);
    const { loss, correct, gradNorm } = await trainer.train(
      { pixels: batch.pixels, targets, teacher },
      lr,
      options.weightDecay,
    );
    if (!Number.isFinite(loss) || (gradNorm !== undefined && !Number.isFinite(gradNorm))) {
      throw new UserError(
        `training diverged: ${Number.isFinite(loss) ? 'the gradients are not finite' : `the loss is ${loss}`} in epoch ${at.epoch + 1}, step ${at.step + 1}; the last good checkpoint is kept; lower the learning rate (${options.lr})`,
      );
    }
    const images = batch.pixels.shape[0]!;
    at.batch++;
    at.images += images;
    at.lossSum += loss * images;
    at.correct += correct;
    if (gradNorm !== undefined) {
      at.step = trainer.step;
      at.history.steps.push({ step: at.step, epoch: at.epoch + 1, loss, lr, gradNorm });
    }
    report(loss, lr);
  }

  async #teach(batch: Batch) {
    const { teacher } = this;
    if (!teacher) return undefined;
    const logits = (await teacher.run({ [teacher.inputs[0]!]: batch.pixels }))[teacher.outputs[0]!]!;
    if (logits.shape.at(-1) !== this.trainer.classes) {
      throw new UserError(
        `the teacher has ${logits.shape.at(-1)} classes, the model ${this.trainer.classes}; they must be the same`,
      );
    }
    return logits;
  }

  async #measure(): Promise<number> {
    const { preprocessing, threads } = this.options;
    const { top1 } = await evaluate(this.engine, this.result(), this.data.val, {
      preprocessing,
      batchSize: 64,
      label: `epoch ${this.at.epoch}, held out`,
      progress: this.#progress,
      threads,
    });
    return top1;
  }

  async #save(): Promise<void> {
    await this.context.checkpoints?.save({ tensors: this.trainer.state.tensors, progress: this.at });
    this.#savedAt = performance.now();
  }

  async #interrupted(): Promise<never> {
    await this.#save();
    const where = `epoch ${this.at.epoch + 1} of ${this.options.epochs}, batch ${this.at.batch}`;
    throw new InterruptedError(
      this.context.checkpoints ? `stopped in ${where}; resume to go on` : `stopped in ${where}`,
    );
  }

  /** The model with the weights as they are now. */
  result(): Graph {
    const { graph: tuned } = this.graph.clone();
    for (const [name, tensor] of Object.entries(this.trainer.parameters())) {
      tuned.setConstant(tuned.constants.get(name)!, tensor);
    }
    return tuned;
  }
}
