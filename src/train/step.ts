import { backward, gradientOpset } from '../autodiff/backward.ts';
import { recompute } from '../autodiff/recompute.ts';
import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { modelParameters } from '../graph/learned.ts';
import { raiseOpset } from '../graph/raise-opset.ts';
import { freeName } from '../graph/replace.ts';
import { type FakeQuantization, fakeQuantize } from '../quantize/fake.ts';
import { undecayed } from '../zoo/model-family.ts';
import { decays } from './adamw.ts';
import { type BatchNormMode, normalizeByBatch } from './batch-norm.ts';
import { addDropPath, type DropPath } from './drop-path.ts';
import { blockOutputs } from './features.ts';
import type { Distillation } from './loss.ts';
import { lowerForTraining } from './lower.ts';
import { objectiveOf, type Task } from './objective.ts';
import { type OptimizerName, type OptimizerSettings, optimizerOf } from './optimizer.ts';

export interface StepOptions extends OptimizerSettings {
  /** Default `adamw`. */
  optimizer?: OptimizerName;
  /** What batch norms normalize by; default `frozen`. */
  batchNorm?: BatchNormMode | undefined;
  /** Share of the running mean of weights and statistics that stays in a step; 0 or absent: there is none. */
  emaDecay?: number;
  /** How fast a parameter learns, beside the others; default 1 for all. */
  rates?: ReadonlyMap<string, number>;
  /** Gradients are scaled down to this global norm; 0 or absent: left as they are. */
  clipNorm?: number;
  /** What is learnt; default `classify`. */
  task?: Task;
  /** Adds the inputs in which a teacher's logits or block outputs are given. The task `distill` always has some. */
  distillation?: Distillation;
  /**
   * Batches whose gradients are averaged for one update; default 1. With more, the step only adds to
   * gradients (`grad.NAME` in and out), and `updateStep` makes the update.
   */
  accumulate?: number;
  /** How likely a residual branch of the last block is left out; 0 or absent: none ever is. */
  dropPath?: number;
  /** The forward pass computes with the int8 numbers that the model will have; left out: in float32. */
  int8?: FakeQuantization | undefined;
  /** Activations are computed again for the backward pass, not kept: less memory, the same results, more time. */
  recompute?: boolean;
}

/** A parameter as an update sees it. */
export interface Trained {
  name: string;
  shape: readonly number[];
  decays: boolean;
}

/** Which parameters of a model lose weight: not norms and biases, nor what its family spares. */
export function decayOf(model: Graph): (parameter: Value) => boolean {
  const kept = undecayed(model);
  return ({ name, staticShape }) => decays(staticShape) && !kept(name);
}

/** A running statistic of a batch norm that every batch changes. */
export interface Statistic {
  name: string;
  shape: readonly number[];
}

/** Names of the inputs and outputs of one parameter, or statistic, in a training graph. */
export const slots = {
  parameter: (name: string) => name,
  /** What the optimizer keeps of it under that name: `m.NAME`. */
  state: (kind: string, name: string) => `${kind}.${name}`,
  /** The running mean of it. */
  ema: (name: string) => `ema.${name}`,
  gradient: (name: string) => `grad.${name}`,
  next: (slot: string) => `next.${slot}`,
};

/** The input that a scalar of the optimizer is given in. */
export const scalarInput = (name: string): string => `optimizer.${name}`;

export interface TrainingGraph {
  graph: Graph;
  /** The parameters it trains, in the model's order. */
  trained: Trained[];
  /** The running statistics it learns. */
  statistics: Statistic[];
  /** Name of the image input. */
  images: string;
  /** Of the task `classify`. */
  classes: number | undefined;
  /** Branches that images go without, each with an input for which. */
  dropPaths: DropPath[];
  /** Inputs that the teacher's outputs are given in, in their order. */
  teacher: string[];
}

/**
 * A whole training step as one graph: forward pass, loss, backward pass, the optimizer's update.
 *
 * Inputs: the model's image input, of the task `classify` `targets` `[N, classes]`, a `teacher.NAME` for each value
 * that is learnt of a teacher, a `drop_path.NAME` for each branch that is left out at times; each trained parameter under its own name with its state (`m.NAME` and `v.NAME` of AdamW), the running
 * statistics that batch norms learn, and the scalars of the optimizer.
 * Outputs: `loss`, `correct` (a count), `grad_norm`, and `next.*` of parameters, state and statistics.
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
  const features = options.distillation?.kind === 'feature' ? blockOutputs(graph) : [];
  const dropPaths = options.dropPath ? addDropPath(graph, options.dropPath) : [];
  const straight = options.int8 && fakeQuantize(graph, options.int8);
  lowerForTraining(graph);
  const trainable = names
    .map((name) => graph.constants.get(name))
    .filter((value) => value !== undefined)
    .filter((value) => value.dtype === 'float32');
  for (const value of trainable) graph.constantToInput(value);
  const statistics = options.batchNorm === 'train' ? normalizeByBatch(graph) : new Map<Value, Value>();
  const decay = decayOf(model);
  const trained = trainable.map(
    (value): Trained => ({ name: value.name, shape: value.staticShape, decays: decay(value) }),
  );

  const b = new Builder(graph);
  const accumulate = options.accumulate ?? 1;
  const objective = objectiveOf(b, options, features);
  const forward = new Set(graph.nodes);
  const gradients = backward(graph, objective.loss, trainable, straight);
  graph.outputs.length = 0;
  emit(graph, objective.loss, 'loss');
  if (objective.correct) emit(graph, objective.correct, 'correct');
  for (const [value, next] of statistics) emit(graph, next, slots.next(value.name));
  if (accumulate > 1) {
    for (const value of trainable) {
      const slot = slots.gradient(value.name);
      const sum = graph.addInput(slot, 'float32', value.shape);
      const share = b.op('Mul', [gradients.get(value)!, b.scalar(1 / accumulate)]);
      emit(graph, b.op('Add', [sum, share]), slots.next(slot));
    }
  } else {
    update(b, trained, trainable, gradients, options);
    for (const [value, next] of statistics) keepMean(b, value, next, options.emaDecay);
  }
  graph.removeDead();
  if (options.recompute) recompute(graph, forward, images);
  const { classes, teacher } = objective;
  return {
    ...{ graph, trained, images: images.name, classes, dropPaths, teacher },
    statistics: [...statistics.keys()].map(({ name, staticShape }) => ({ name, shape: staticShape })),
  };
}

/**
 * The update alone, for accumulated gradients: inputs parameters, state, `grad.NAME` and scalars, and where a running
 * mean is kept the statistics.
 */
export function updateStep(
  trained: readonly Trained[],
  statistics: readonly Statistic[],
  options: StepOptions,
): Graph {
  const graph = new Graph('update');
  const values = trained.map(({ name, shape }) => graph.addInput(name, 'float32', shape));
  const gradients = new Map(
    values.map((value) => [value, graph.addInput(slots.gradient(value.name), 'float32', value.shape)]),
  );
  const b = new Builder(graph);
  update(b, trained, values, gradients, options);
  for (const { name, shape } of options.emaDecay ? statistics : []) {
    const value = graph.addInput(name, 'float32', shape);
    keepMean(b, value, value, options.emaDecay);
  }
  return graph;
}

function update(
  b: Builder,
  trained: readonly Trained[],
  values: readonly Value[],
  gradients: ReadonlyMap<Value, Value>,
  { clipNorm = 0, optimizer: name, emaDecay, rates, ...settings }: StepOptions,
): void {
  const { graph } = b;
  const optimizer = optimizerOf(name);
  const scalars = Object.fromEntries(
    Object.keys(optimizer.scalars(1, 1, 0, settings)).map((key) => [
      key,
      graph.addInput(scalarInput(key), 'float32', []),
    ]),
  );
  const squares = values.map((value) => b.op('ReduceSumSquare', [gradients.get(value)!], { keepdims: 0 }));
  const norm = b.op('Sqrt', [squares.length > 1 ? b.op('Sum', squares) : squares[0]!]);
  emit(graph, norm, 'grad_norm');
  const factor = clipNorm > 0 ? clipFactor(b, norm, clipNorm) : undefined;
  values.forEach((value, i) => {
    const gradient = gradients.get(value)!;
    const slot = (kind: string) => slots.state(kind, value.name);
    const input = (kind: string) => graph.addInput(slot(kind), 'float32', value.shape);
    const updated = {
      parameter: value,
      gradient: factor ? b.op('Mul', [gradient, factor]) : gradient,
      state: Object.fromEntries(optimizer.state.map((kind) => [kind, input(kind)])),
      decays: trained[i]!.decays,
      rate: rates?.get(value.name) ?? 1,
    };
    const next = b.scope(`update.${value.name}`, () => optimizer.update(b, updated, scalars, settings));
    keepMean(b, value, next.parameter, emaDecay);
    emit(graph, next.parameter, slots.next(value.name));
    for (const [kind, state] of Object.entries(next.state)) emit(graph, state, slots.next(slot(kind)));
  });
}

/** The running mean of what a value becomes, where one is kept. */
function keepMean(b: Builder, { name, shape }: Value, next: Value, emaDecay = 0): void {
  if (emaDecay === 0) return;
  const mean = b.graph.addInput(slots.ema(name), 'float32', shape);
  const moved = b.op('Mul', [next, b.scalar(1 - emaDecay)]);
  const sum = b.op('Add', [b.op('Mul', [mean, b.scalar(emaDecay)]), moved]);
  emit(b.graph, sum, slots.next(slots.ema(name)));
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
