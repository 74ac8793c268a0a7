import { backward, gradientOpset } from '../autodiff/backward.ts';
import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { modelParameters } from '../graph/learned.ts';
import { raiseOpset } from '../graph/raise-opset.ts';
import { freeName } from '../graph/replace.ts';
import { undecayed } from '../zoo/model-family.ts';
import { type AdamWOptions, type AdamWScalars, adamWUpdate, decays } from './adamw.ts';
import { correctCount, crossEntropy, type Distillation, distillationLoss, outputDistance } from './loss.ts';
import { lowerForTraining } from './lower.ts';

export interface StepOptions extends AdamWOptions {
  /** Gradients are scaled down to this global norm; 0 or absent: left as they are. */
  clipNorm?: number;
  /** What is learnt; default `classify`. */
  task?: Task;
  /** Adds an input `teacher`, the teacher's logits `[N, classes]`, to the task `classify`. */
  distillation?: Distillation;
  /**
   * Batches whose gradients are averaged for one update; default 1. With more, the step only adds to
   * gradients (`grad.NAME` in and out), and `updateStep` makes the update.
   */
  accumulate?: number;
}

/** What a model is trained to: tell classes apart, or give the outputs that a teacher gives, whatever they are. */
export const tasks = ['classify', 'distill'] as const;
export type Task = (typeof tasks)[number];

/** A parameter as an update sees it. */
export interface Trained {
  name: string;
  shape: readonly number[];
  decays: boolean;
}

/** Names of the inputs and outputs of one parameter in a training graph. */
export const slots = {
  parameter: (name: string) => name,
  m: (name: string) => `m.${name}`,
  v: (name: string) => `v.${name}`,
  gradient: (name: string) => `grad.${name}`,
  next: (slot: string) => `next.${slot}`,
};

export const scalarNames: Record<keyof AdamWScalars, string> = {
  stepSize: 'step_size',
  epsilon: 'epsilon',
  keep: 'keep',
};

export interface TrainingGraph {
  graph: Graph;
  /** The parameters it trains, in the model's order. */
  trained: Trained[];
  /** Name of the image input. */
  images: string;
  /** Of the task `classify`. */
  classes: number | undefined;
  /** Inputs that the teacher's outputs are given in, in their order. */
  teacher: string[];
}

/**
 * A whole training step as one graph: forward pass, loss, backward pass, AdamW.
 *
 * Inputs: the model's image input, `targets` `[N, classes]`, (`teacher`), or for the task `distill` a
 * `teacher.NAME` for each output; each trained parameter under
 * its own name with its state `m.NAME` and `v.NAME`, and the scalars of `adamWScalars`.
 * Outputs: `loss`, `correct` (a count), `grad_norm`, and `next.*` of parameters and state.
 * The model is not changed.
 * @throws UserError when the model has no logits `[N, classes]`, no parameters, or an op without a gradient
 */
export function trainingStep(model: Graph, options: StepOptions = {}): TrainingGraph {
  const { graph } = model.clone();
  const [images] = graph.inputs;
  if (!images || graph.inputs.length !== 1) {
    throw new UserError(`${model.name} has ${graph.inputs.length} inputs; training needs one, the images`);
  }
  const names = modelParameters(model).map((value) => value.name);
  if (names.length === 0) throw new UserError(`${model.name} has no parameters that could be trained`);
  raiseOpset(graph, gradientOpset);
  lowerForTraining(graph);
  const trainable = names
    .map((name) => graph.constants.get(name))
    .filter((value) => value !== undefined)
    .filter((value) => value.dtype === 'float32');
  for (const value of trainable) graph.constantToInput(value);
  const kept = undecayed(model);
  const trained = trainable.map(
    ({ name, staticShape }): Trained => ({
      name,
      shape: staticShape,
      decays: decays(staticShape) && !kept(name),
    }),
  );

  const b = new Builder(graph);
  const accumulate = options.accumulate ?? 1;
  const objective = (options.task === 'distill' ? matching : classifying)(b, options);
  const gradients = backward(graph, objective.loss, trainable);
  graph.outputs.length = 0;
  emit(graph, objective.loss, 'loss');
  if (objective.correct) emit(graph, objective.correct, 'correct');
  if (accumulate > 1) {
    for (const value of trainable) {
      const slot = slots.gradient(value.name);
      const sum = graph.addInput(slot, 'float32', value.shape);
      const share = b.op('Mul', [gradients.get(value)!, b.scalar(1 / accumulate)]);
      emit(graph, b.op('Add', [sum, share]), slots.next(slot));
    }
  } else {
    update(b, trained, trainable, gradients, options);
  }
  graph.removeDead();
  return { graph, trained, images: images.name, classes: objective.classes, teacher: objective.teacher };
}

/** What a step makes smaller. */
interface Objective extends Pick<TrainingGraph, 'classes' | 'teacher'> {
  loss: Value;
  correct?: Value;
}

function classifying(b: Builder, { distillation }: StepOptions): Objective {
  const { graph } = b;
  const [logits] = graph.outputs;
  const [batch, classes] = logits?.shape ?? [];
  if (logits?.shape?.length !== 2 || batch === undefined || typeof classes !== 'number') {
    throw new UserError(
      `${graph.name} has no output logits [N, classes] to train; the task distill takes any outputs`,
    );
  }
  const targets = graph.addInput(freeName(graph, 'targets'), 'float32', [batch, classes]);
  const teacher = distillation && graph.addInput(freeName(graph, 'teacher'), 'float32', [batch, classes]);
  const loss = b.scope('loss', () =>
    teacher ? distillationLoss(b, logits, targets, teacher, distillation) : crossEntropy(b, logits, targets),
  );
  const correct = correctCount(b, logits, targets);
  return { loss, correct, classes, teacher: teacher ? [teacher.name] : [] };
}

function matching(b: Builder): Objective {
  const { graph } = b;
  const outputs = graph.outputs.filter(({ dtype }) => dtype === 'float32');
  if (outputs.length === 0) throw new UserError(`${graph.name} has no float32 output to learn`);
  const teachers = outputs.map(({ name, shape }) => graph.addInput(`teacher.${name}`, 'float32', shape));
  const loss = b.scope('loss', () =>
    outputDistance(
      b,
      outputs.map((output, i) => [output, teachers[i]!]),
    ),
  );
  return { loss, classes: undefined, teacher: teachers.map(({ name }) => name) };
}

/** The update alone, for accumulated gradients: inputs parameters, state, `grad.NAME` and scalars. */
export function updateStep(trained: readonly Trained[], options: StepOptions): Graph {
  const graph = new Graph('update');
  const values = trained.map(({ name, shape }) => graph.addInput(name, 'float32', shape));
  const gradients = new Map(
    values.map((value) => [value, graph.addInput(slots.gradient(value.name), 'float32', value.shape)]),
  );
  update(new Builder(graph), trained, values, gradients, options);
  return graph;
}

function update(
  b: Builder,
  trained: readonly Trained[],
  values: readonly Value[],
  gradients: ReadonlyMap<Value, Value>,
  { clipNorm = 0, ...options }: StepOptions,
): void {
  const { graph } = b;
  const scalars = Object.fromEntries(
    Object.entries(scalarNames).map(([key, name]) => [
      key,
      graph.addInput(freeName(graph, name), 'float32', []),
    ]),
  ) as unknown as AdamWScalars;
  const squares = values.map((value) => b.op('ReduceSumSquare', [gradients.get(value)!], { keepdims: 0 }));
  const norm = b.op('Sqrt', [squares.length > 1 ? b.op('Sum', squares) : squares[0]!]);
  emit(graph, norm, 'grad_norm');
  const factor = clipNorm > 0 ? clipFactor(b, norm, clipNorm) : undefined;
  values.forEach((value, i) => {
    const gradient = gradients.get(value)!;
    const state = {
      parameter: value,
      gradient: factor ? b.op('Mul', [gradient, factor]) : gradient,
      m: graph.addInput(slots.m(value.name), 'float32', value.shape),
      v: graph.addInput(slots.v(value.name), 'float32', value.shape),
    };
    const next = b.scope(`adamw.${value.name}`, () =>
      adamWUpdate(b, state, scalars, trained[i]!.decays, options),
    );
    emit(graph, next.parameter, slots.next(value.name));
    emit(graph, next.m, slots.next(slots.m(value.name)));
    emit(graph, next.v, slots.next(slots.v(value.name)));
  });
}

/** `min(1, clipNorm / (norm + 1e-6))`, as torch.nn.utils.clip_grad_norm_. */
function clipFactor(b: Builder, norm: Value, clipNorm: number): Value {
  const wanted = b.op('Div', [b.scalar(clipNorm), b.op('Add', [norm, b.scalar(1e-6)])]);
  return b.op('Min', [wanted, b.scalar(1)]);
}

/** Makes a value a graph output under `name`. */
function emit(graph: Graph, value: Value, name: string): void {
  if (value.name !== name) graph.rename(value, freeName(graph, name));
  graph.outputs.push(value);
}
