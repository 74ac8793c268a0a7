import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { freeName } from '../graph/replace.ts';
import {
  correctCount,
  crossEntropy,
  type Distillation,
  distillationLoss,
  outputDistance,
  type Taught,
} from './loss.ts';

/** What a model is trained to: tell classes apart, or give the outputs that a teacher gives, whatever they are. */
export const tasks = ['classify', 'distill'] as const;
export type Task = (typeof tasks)[number];

/** What a step makes smaller. */
export interface Objective {
  loss: Value;
  correct?: Value;
  /** Of the task `classify`. */
  classes: number | undefined;
  /** Inputs that the teacher's outputs are given in, in their order. */
  teacher: string[];
}

interface ObjectiveOptions {
  task?: Task;
  distillation?: Distillation | undefined;
}

/**
 * Adds to a model the loss of its task, and the inputs that it needs.
 * @param features what is learnt of a teacher beside its outputs, or in their place
 */
export const objectiveOf = (b: Builder, options: ObjectiveOptions, features: readonly Value[]): Objective =>
  options.task === 'distill' ? matching(b, features) : classifying(b, options, features);

function classifying(b: Builder, { distillation }: ObjectiveOptions, features: readonly Value[]): Objective {
  const { graph } = b;
  const [logits] = graph.outputs;
  const [batch, classes] = logits?.shape ?? [];
  if (logits?.shape?.length !== 2 || batch === undefined || typeof classes !== 'number') {
    throw new UserError(
      `${graph.name} has no output logits [N, classes] to train; the task distill takes any outputs`,
    );
  }
  const targets = graph.addInput(freeName(graph, 'targets'), 'float32', [batch, classes]);
  const learnt = distillation?.kind === 'feature' ? features : [logits];
  const taught = distillation ? taughtIn(b, learnt) : [];
  const loss = b.scope('loss', () =>
    distillation
      ? distillationLoss(b, logits, targets, taught, distillation)
      : crossEntropy(b, logits, targets),
  );
  return { loss, correct: correctCount(b, logits, targets), classes, teacher: namesIn(taught) };
}

function matching(b: Builder, features: readonly Value[]): Objective {
  const outputs = b.graph.outputs.filter(({ dtype }) => dtype === 'float32');
  if (outputs.length === 0) throw new UserError(`${b.graph.name} has no float32 output to learn`);
  const taught = taughtIn(b, [...outputs, ...features]);
  const loss = b.scope('loss', () => outputDistance(b, taught));
  return { loss, classes: undefined, teacher: namesIn(taught) };
}

/** Values with inputs for what a teacher has in their places. */
const taughtIn = ({ graph }: Builder, values: readonly Value[]): Taught[] =>
  values.map((value) => [
    value,
    graph.addInput(freeName(graph, `teacher.${value.name}`), 'float32', value.shape),
  ]);

const namesIn = (taught: readonly Taught[]): string[] => taught.map(([, theirs]) => theirs.name);
