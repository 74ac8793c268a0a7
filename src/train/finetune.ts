import { InterruptedError, UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { Random } from '../common/random.ts';
import { Stopwatch } from '../common/stopwatch.ts';
import type { Batch, Split } from '../dataset/dataset.ts';
import type { ImagePool } from '../dataset/image-pool.ts';
import { keepDecoded } from '../dataset/keep-decoded.ts';
import { batches, stream } from '../dataset/loader.ts';
import type { Graph } from '../graph/graph.ts';
import { modelParameters } from '../graph/learned.ts';
import { parameters } from '../graph/parameters.ts';
import { evaluate } from '../measure/accuracy.ts';
import type { FakeQuantization } from '../quantize/fake.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { architectureName } from '../zoo/model-info.ts';
import { countBatches } from '../zoo/state.ts';
import { type BatchNormTraining, batchNormTraining } from './batch-norm.ts';
import type { CheckpointStore, History, TrainingProgress } from './checkpoint.ts';
import { type FinetuneOptions, type Settings, settingsOf } from './finetune-options.ts';
import { layerRates } from './layer-decay.ts';
import { checkRecipe, type Plan, planOf, recipeOf } from './plan.ts';
import { asInt8, fakeQuantizationOf } from './quantization-aware.ts';
import { decaySteps, scheduleOf } from './schedule.ts';
import { Teacher } from './teacher.ts';
import { Trainer } from './trainer.ts';
import type { TrainingWatcher } from './watch.ts';

/** Trains a model: `finetune`, or what does the same elsewhere. */
export type Finetuner = typeof finetune;

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
  /** Who follows it. */
  watcher?: TrainingWatcher | undefined;
}

export interface FinetuneResult {
  /** The model with its new weights. */
  graph: Graph;
  history: History;
}

/**
 * Trains a model further: an optimizer, a schedule with warm-up, label smoothing, clipping, and, with a
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
  const { progress = silent, checkpoints } = context;
  const given = forBatchOf(graph, settingsOf(input), progress);
  const plan = planOf(data.train, given);
  const norms = batchNormTraining(graph, given.batchNorm, plan.batchSize);
  const options = { ...given, batchNorm: norms?.mode };
  const recipe = recipeOf(options, plan);
  const saved = context.resume ? await checkpoints?.load() : undefined;
  if (saved) checkRecipe(saved.progress.recipe, recipe);
  const { accumulate, clipNorm, teacher, threads, temperature, task } = options;
  const { distillKind: kind } = options;
  const { optimizer, momentum, nesterov, emaDecay, layerDecay, dropPath, batchNorm, recompute } = options;
  const distillation = teacher && { kind, weight: options.distill ?? 0.5, temperature };
  const int8 = await fakeQuantizationOf(engine, graph, options, progress);
  const trainer = await Trainer.create(
    engine,
    graph,
    {
      ...{ accumulate, clipNorm, distillation, threads, task },
      ...{ optimizer, momentum, nesterov, emaDecay, batchNorm, int8, dropPath, recompute },
      rates:
        layerDecay === 1
          ? undefined
          : layerRates(
              modelParameters(graph).map(({ name }) => name),
              layerDecay,
            ),
    },
    saved && { tensors: saved.tensors, step: saved.progress.step },
  );
  for (const line of notesOn(graph, norms)) progress.note(line);
  if (trainer.dropPaths > 0) {
    progress.note(
      `drop path: ${trainer.dropPaths} residual branches are left out for up to ${dropPath} of the images`,
    );
  }
  const { kept } = options;
  const teaching = teacher && (await Teacher.load(engine, teacher, graph, { task, kind, kept, threads }));
  let run: Run | undefined;
  try {
    run = new Run(engine, graph, data, options, plan, trainer, int8, teaching, context);
    if (saved) {
      run.at = saved.progress;
      run.takeBest(saved.tensors);
      progress.note(`resumed after epoch ${saved.progress.epoch}, batch ${saved.progress.batch}`);
    } else run.at.recipe = recipe;
    await run.all();
    run.tellWaiting();
    return { graph: run.result(), history: run.at.history };
  } finally {
    await run?.close();
    await trainer.dispose();
    await teaching?.dispose();
  }
}

/** A model that takes batches of one size only learns from those; as many of them make an update as were asked for. */
function forBatchOf(graph: Graph, options: Settings, progress: Progress): Settings {
  const images = graph.inputs[0]?.shape?.[0];
  const { batchSize, accumulate } = options;
  if (typeof images !== 'number' || images === batchSize) return options;
  const batches = Math.max(1, Math.round((batchSize * accumulate) / images));
  progress.note(
    `the model takes ${images} images at a time and no other number: ${batches} such batches make an update`,
  );
  return { ...options, batchSize: images, accumulate: batches };
}

/** What one should know of how a model is trained, a line each. */
export function notesOn(graph: Graph, norms: BatchNormTraining | undefined): string[] {
  const notes: string[] = [];
  if (parameters(graph).length === 0) {
    const count = modelParameters(graph).length;
    notes.push(
      `the model does not say what its parameters are: the ${count} constants that its layers learned are trained`,
    );
  }
  if (norms) notes.push(norms.note);
  return notes;
}

/** What the names of the best weights begin with in a checkpoint. */
const bestPrefix = 'best.';

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
  readonly #pool: ImagePool | undefined;
  readonly #watch = new Stopwatch();
  #savedAt = performance.now();
  /** Of the batches since the last update. */
  #losses: number[] = [];
  #best: Tensors | undefined;

  constructor(
    readonly engine: Engine,
    readonly graph: Graph,
    readonly data: { readonly train: Split; readonly val: Split },
    readonly options: Settings,
    readonly plan: Plan,
    readonly trainer: Trainer,
    readonly int8: FakeQuantization | undefined,
    readonly teacher: Teacher | undefined,
    readonly context: FinetuneContext,
  ) {
    const { lr, warmup, schedule, decayRate } = options;
    const { totalSteps } = plan;
    this.#schedule = scheduleOf(schedule, {
      ...{ lr, warmup, totalSteps, decayRate },
      decaySteps: decaySteps(options, totalSteps),
    });
    this.#progress = context.progress ?? silent;
    this.#train = keepDecoded(data.train);
    const { workers, preprocessing, augment } = options;
    if (workers > 0 && augment) this.#pool = this.#train.pool?.(workers, { preprocessing, augment });
    if (workers > 0 && !this.#pool) {
      const why = augment ? `the images of ${data.train.name} are decoded already` : 'images are not changed';
      this.#progress.note(`workers have nothing to do: ${why}`);
    }
  }

  async all(): Promise<void> {
    const { epochs } = this.options;
    const { imagesAnEpoch } = this.plan;
    const bar = this.#progress.task('finetune', epochs * imagesAnEpoch, 'images');
    const { watcher } = this.context;
    watcher?.begin({
      name: architectureName(this.graph) ?? this.graph.name,
      epochs,
      totalSteps: this.plan.totalSteps,
      imagesAStep: this.plan.batchSize * this.options.accumulate,
      history: this.at.history,
    });
    try {
      while (this.at.epoch < epochs && !this.#hasSettled()) {
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
      watcher?.end();
    }
  }

  /** Says where the images are what takes the time. */
  tellWaiting(): void {
    const { seconds, share } = this.#watch.waited;
    if (share < 0.03 || seconds < 2) return;
    const more = this.data.train.pool ? '; --workers N has them prepared in N threads' : '';
    this.#progress.note(
      `${(100 * share).toFixed(0)} % of the time went into waiting for images, ${seconds.toFixed(1)} s${more}`,
    );
  }

  async close(): Promise<void> {
    await this.#pool?.close();
  }

  async #epoch(report: (loss: number, lr: number) => void): Promise<void> {
    const { at, options, plan } = this;
    const { accumulate } = options;
    for await (const batch of this.#watch.over(this.#batches())) {
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
      ...(this.trainer.classes === undefined ? {} : { trainTop1: at.correct / at.images }),
      top1: this.#isMeasured ? await this.#measure() : undefined,
    });
    this.#keepBest();
    this.context.watcher?.epoch(at.history.epochs.at(-1)!);
    Object.assign(at, { batch: 0, lossSum: 0, correct: 0, images: 0 });
    await this.#save();
    if (this.context.signal?.aborted && at.epoch < options.epochs) await this.#interrupted();
  }

  #batches(): AsyncIterable<Batch> {
    const { seed, augment, labelSmoothing, mixup, cutmix, mixProb, limit } = this.options;
    const { repeatedAugment: repeats } = this.options;
    const { classes } = this.trainer;
    return batches(this.#train, this.options.preprocessing, {
      engine: this.engine,
      batchSize: this.plan.batchSize,
      shuffle: { seed, epoch: this.at.epoch },
      skipBatches: this.at.batch,
      dropLast: true,
      mixing: classes === undefined ? undefined : { classes, labelSmoothing, mixup, cutmix, prob: mixProb },
      progress: this.#progress,
      augment,
      limit,
      repeats,
      pool: this.#pool,
    });
  }

  async #step(batch: Batch, report: (loss: number, lr: number) => void): Promise<void> {
    const { at, trainer, options } = this;
    const { classes = Number.POSITIVE_INFINITY } = trainer;
    const outside = batch.labels.integers.find((label) => label >= classes);
    if (outside !== undefined) {
      throw new UserError(`${this.data.train.name} has label ${outside}, the model ${classes} classes`);
    }
    const lr = this.#schedule(at.step);
    const random = new Random(options.seed, at.epoch, stream.dropPath, at.batch);
    const judges = options.distillKind !== 'feature';
    const teacher = await this.teacher?.teach(batch.pixels, judges ? trainer.classes : undefined);
    const { loss, correct, gradNorm } = await trainer.train(
      { pixels: batch.pixels, targets: batch.targets, teacher, random },
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
    at.correct += correct ?? 0;
    this.#losses.push(loss);
    if (gradNorm !== undefined) {
      at.step = trainer.step;
      const mean = this.#losses.reduce((sum, each) => sum + each, 0) / this.#losses.length;
      this.#losses = [];
      at.history.steps.push({ step: at.step, epoch: at.epoch + 1, loss: mean, lr, gradNorm });
      this.context.watcher?.step(at.history.steps.at(-1)!);
    }
    report(loss, lr);
  }

  get #isMeasured(): boolean {
    const { evaluate, best, patience } = this.options;
    return (evaluate || best || patience !== undefined) === true && this.trainer.classes !== undefined;
  }

  /** Remembers an epoch that is better than all before it, and with `best` its weights. */
  #keepBest(): void {
    const { epoch, top1 } = this.at.history.epochs.at(-1)!;
    if (top1 === undefined || top1 <= (this.at.best?.top1 ?? -1)) return;
    this.at.best = { epoch, top1 };
    if (this.options.best) this.#best = this.trainer.parameters();
  }

  /** Whether so many epochs as one is patient for were no better than the best. */
  #hasSettled(): boolean {
    const { best, epoch } = this.at;
    const { patience } = this.options;
    return patience !== undefined && best !== undefined && epoch - best.epoch >= patience;
  }

  /** The best weights among the tensors of a checkpoint. */
  takeBest(tensors: Tensors): void {
    const found = Object.entries(tensors).filter(([name]) => name.startsWith(bestPrefix));
    if (found.length === 0) return;
    this.#best = Object.fromEntries(found.map(([name, tensor]) => [name.slice(bestPrefix.length), tensor]));
  }

  async #measure(): Promise<number> {
    const { preprocessing, threads } = this.options;
    const model = this.#withWeights(this.trainer.parameters());
    const measured = this.int8 ? asInt8(model, this.int8) : model;
    const { top1 } = await evaluate(this.engine, measured, this.data.val, {
      preprocessing,
      batchSize: 64,
      label: `epoch ${this.at.epoch}, held out`,
      progress: this.#progress,
      threads,
    });
    return top1;
  }

  async #save(): Promise<void> {
    const best = Object.entries(this.#best ?? {}).map(([name, tensor]) => [`${bestPrefix}${name}`, tensor]);
    const tensors = { ...this.trainer.state.tensors, ...Object.fromEntries(best) };
    await this.context.checkpoints?.save({ tensors, progress: this.at });
    this.#savedAt = performance.now();
  }

  async #interrupted(): Promise<never> {
    await this.#save();
    const where = `epoch ${this.at.epoch + 1} of ${this.options.epochs}, batch ${this.at.batch}`;
    throw new InterruptedError(
      this.context.checkpoints ? `stopped in ${where}; resume to go on` : `stopped in ${where}`,
    );
  }

  /** The model with the weights as they are now, or with the best there were where those are wanted. */
  result(): Graph {
    const tuned = this.#withWeights(this.#best ?? this.trainer.parameters());
    const epochs = this.#best ? this.at.best!.epoch : this.at.epoch;
    if (this.options.batchNorm === 'train') countBatches(tuned, epochs * this.plan.batchesAnEpoch);
    return tuned;
  }

  #withWeights(weights: Tensors): Graph {
    const { graph: tuned } = this.graph.clone();
    for (const [name, tensor] of Object.entries(weights)) {
      tuned.setConstant(tuned.constants.get(name)!, tensor);
    }
    return tuned;
  }
}
