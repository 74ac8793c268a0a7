import { UserError } from '../common/errors.ts';
import type { Random } from '../common/random.ts';
import type { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session, SessionOptions, Tensors } from '../runtime/session.ts';
import { drawnPaths } from './drop-path.ts';
import { optimizerOf } from './optimizer.ts';
import {
  type Statistic,
  type StepOptions,
  scalarInput,
  slots,
  type TrainingGraph,
  trainingStep,
  updateStep,
} from './step.ts';

/** One batch as the training graph takes it. */
export interface StepInput {
  /** `[N, C, H, W]`. */
  pixels: Tensor;
  /** `[N, classes]`, of the task `classify`. */
  targets?: Tensor;
  /** The teacher's outputs, where the loss looks at them: its logits, or all in their order. */
  teacher?: readonly Tensor[];
  /** Where drop path draws from. */
  random?: Random;
}

export interface StepResult {
  loss: number;
  /** Images whose prediction was the target's most likely class, of the task `classify`. */
  correct?: number;
  /** Global norm of the gradients before clipping; absent for a batch that only accumulated. */
  gradNorm?: number;
}

/** Everything that training has changed: parameters, statistics, the running means of both and the optimizer's state by slot name, updates made. */
export interface TrainerState {
  tensors: Tensors;
  step: number;
}

export interface TrainerOptions extends StepOptions {
  threads?: number;
}

/** Two sets of buffers for the same slots: a step reads one and writes the other. */
class DoubleBuffer {
  #front: Tensors;
  #back: Tensors;

  constructor(tensors: Tensors) {
    this.#front = tensors;
    this.#back = Object.fromEntries(
      Object.entries(tensors).map(([slot, { shape }]) => [slot, Tensor.zeros('float32', shape)]),
    );
  }

  get feeds(): Tensors {
    return this.#front;
  }

  get fetches(): Tensors {
    return Object.fromEntries(Object.entries(this.#back).map(([slot, tensor]) => [slots.next(slot), tensor]));
  }

  swap(): void {
    [this.#front, this.#back] = [this.#back, this.#front];
  }
}

/** Freed memory goes back: what an arena holds on to is more than what recomputation saves. */
const recomputing: SessionOptions = { memoryArena: false };

const copyOf = (tensor: Tensor): Tensor => Tensor.float32(tensor.shape, tensor.floats.slice());

/**
 * A model in training: its parameters, the optimizer's state, the running statistics of batch norms, and the sessions that
 * advance them. All memory that steps write is allocated once. Dispose when done.
 */
export class Trainer {
  readonly #graph: TrainingGraph;
  readonly #session: Session;
  readonly #updateSession: Session | undefined;
  readonly #accumulate: number;
  readonly #options: StepOptions;
  readonly #state: DoubleBuffer;
  /** They change with every batch, the rest with every update. */
  readonly #statistics: DoubleBuffer;
  readonly #gradients: DoubleBuffer | undefined;
  #accumulated = 0;
  #step: number;

  private constructor(
    graph: TrainingGraph,
    sessions: [Session, Session | undefined],
    options: StepOptions,
    start: TrainerState & { statistics: Tensors },
  ) {
    this.#graph = graph;
    [this.#session, this.#updateSession] = sessions;
    this.#options = options;
    this.#accumulate = options.accumulate ?? 1;
    this.#state = new DoubleBuffer(start.tensors);
    this.#statistics = new DoubleBuffer(start.statistics);
    this.#step = start.step;
    if (this.#updateSession) {
      this.#gradients = new DoubleBuffer(
        Object.fromEntries(
          graph.trained.map(({ name }) => [
            slots.gradient(name),
            Tensor.zeros('float32', start.tensors[slots.parameter(name)]!.shape),
          ]),
        ),
      );
    }
  }

  /**
   * Makes the training graph of a model and loads it.
   * @param start where to go on from; default: the model's weights and no moments
   * @throws UserError as `trainingStep`, or when `start` is not of this model
   */
  static async create(
    engine: Engine,
    model: Graph,
    options: TrainerOptions = {},
    start?: TrainerState,
  ): Promise<Trainer> {
    const graph = trainingStep(model, options);
    const [tensors, statistics]: Tensors[] = [{}, {}];
    const put = (into: Tensors, slot: string, { name, shape }: Statistic, isZero = false) => {
      const given = start ? start.tensors[slot] : isZero ? undefined : model.constants.get(name)!.tensor!;
      if (start && !given) throw new UserError(`the training state lacks ${slot}`);
      if (given && `${given.shape}` !== `${shape}`) {
        throw new UserError(`the training state has ${slot} [${given.shape}], the model [${shape}]`);
      }
      into[slot] = given ? copyOf(given) : Tensor.zeros('float32', shape);
    };
    const kinds = optimizerOf(options.optimizer).state;
    for (const one of graph.trained) {
      put(tensors!, slots.parameter(one.name), one);
      for (const kind of kinds) put(tensors!, slots.state(kind, one.name), one, true);
    }
    for (const one of graph.statistics) put(statistics!, slots.parameter(one.name), one);
    for (const one of options.emaDecay ? [...graph.trained, ...graph.statistics] : []) {
      put(tensors!, slots.ema(one.name), one);
    }
    const settings: SessionOptions = {
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(options.recompute ? recomputing : {}),
    };
    const session = await engine.load(graph.graph, settings);
    const updating =
      (options.accumulate ?? 1) > 1
        ? await engine.load(updateStep(graph.trained, graph.statistics, options), settings)
        : undefined;
    return new Trainer(graph, [session, updating], options, {
      ...{ tensors: tensors!, statistics: statistics!, step: start?.step ?? 0 },
    });
  }

  /** Updates made so far. */
  get step(): number {
    return this.#step;
  }

  /** Of the task `classify`. */
  get classes(): number | undefined {
    return this.#graph.classes;
  }

  /** How many residual branches are left out at times. */
  get dropPaths(): number {
    return this.#graph.dropPaths.length;
  }

  /**
   * Trains on one batch. Parameters change at once, or with `accumulate` after every so many batches.
   * @param lr learning rate, should this batch complete an update
   */
  async train(input: StepInput, lr: number, weightDecay: number): Promise<StepResult> {
    const batch: Tensors = { [this.#graph.images]: input.pixels };
    if (input.targets) batch.targets = input.targets;
    input.teacher?.forEach((output, i) => {
      batch[this.#graph.teacher[i]!] = output;
    });
    if (this.dropPaths > 0) {
      if (!input.random)
        throw new UserError('drop path draws at random: give the step something to draw from');
      Object.assign(batch, drawnPaths(this.#graph.dropPaths, input.pixels.shape[0]!, input.random));
    }
    const figures = { loss: null, ...(this.classes === undefined ? {} : { correct: null }) };
    const scalars = this.#scalars(lr, weightDecay);
    if (!this.#updateSession) {
      const results = await this.#session.run(
        { ...batch, ...this.#state.feeds, ...this.#statistics.feeds, ...scalars },
        { ...figures, grad_norm: null, ...this.#state.fetches, ...this.#statistics.fetches },
      );
      this.#statistics.swap();
      this.#advance();
      return { ...figuresOf(results), gradNorm: numberOf(results, 'grad_norm') };
    }
    const gradients = this.#gradients!;
    const results = await this.#session.run(
      { ...batch, ...this.#parameters(), ...this.#statistics.feeds, ...gradients.feeds },
      { ...figures, ...this.#statistics.fetches, ...gradients.fetches },
    );
    this.#statistics.swap();
    gradients.swap();
    if (++this.#accumulated < this.#accumulate) return figuresOf(results);
    return { ...figuresOf(results), gradNorm: await this.#update(scalars) };
  }

  async #update(scalars: Tensors): Promise<number> {
    const gradients = this.#gradients!;
    const results = await this.#updateSession!.run(
      {
        ...{ ...this.#state.feeds, ...gradients.feeds, ...scalars },
        ...(this.#options.emaDecay ? this.#statistics.feeds : {}),
      },
      { grad_norm: null, ...this.#state.fetches },
    );
    for (const tensor of Object.values(gradients.feeds)) tensor.floats.fill(0);
    this.#accumulated = 0;
    this.#advance();
    return numberOf(results, 'grad_norm');
  }

  #advance(): void {
    this.#state.swap();
    this.#step++;
  }

  #parameters(): Tensors {
    return Object.fromEntries(this.#graph.trained.map(({ name }) => [name, this.#state.feeds[name]!]));
  }

  #scalars(lr: number, weightDecay: number): Tensors {
    const { optimizer } = this.#options;
    const values = optimizerOf(optimizer).scalars(this.#step + 1, lr, weightDecay, this.#options);
    return Object.fromEntries(
      Object.entries(values).map(([name, value]) => [scalarInput(name), Tensor.scalar(value)]),
    );
  }

  /** The present state. Its tensors are the trainer's own: the second step from now overwrites them. */
  get state(): TrainerState {
    return { tensors: { ...this.#state.feeds, ...this.#statistics.feeds }, step: this.#step };
  }

  /**
   * Copies of the trained parameters and the learned statistics by name: as they are, or their running means where those
   * are kept.
   */
  parameters(): Tensors {
    const slot = this.#options.emaDecay ? slots.ema : slots.parameter;
    const { tensors } = this.state;
    const { trained, statistics } = this.#graph;
    return Object.fromEntries(
      [...trained, ...statistics].map(({ name }) => [name, copyOf(tensors[slot(name)]!)]),
    );
  }

  async dispose(): Promise<void> {
    await this.#session.dispose();
    await this.#updateSession?.dispose();
  }
}

const numberOf = (results: Tensors, name: string): number => results[name]!.floats[0]!;

const figuresOf = (results: Tensors): StepResult => ({
  loss: numberOf(results, 'loss'),
  ...(results.correct ? { correct: numberOf(results, 'correct') } : {}),
});
