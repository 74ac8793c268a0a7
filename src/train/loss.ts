import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';

/** What a teacher gives: how likely it finds each class, the class that it would choose, or what its blocks hand on. */
export const distillKinds = ['soft', 'hard', 'feature'] as const;
export type DistillKind = (typeof distillKinds)[number];

/** Knowledge distillation: soft (Hinton et al., arXiv 1503.02531), hard (DeiT, arXiv 2012.12877), or of features. */
export interface Distillation {
  /** Default `soft`. */
  kind?: DistillKind;
  /** Share of the loss that comes from the teacher, 0 to 1. */
  weight: number;
  /** Of `soft`: both distributions are softened by it; the term is scaled by its square. Default 1. */
  temperature?: number;
}

/** Minus the mean over rows of `sum(targets * logProbabilities)`. */
function crossEntropyOf(b: Builder, logProbabilities: Value, targets: Value, factor: number): Value {
  const perClass = b.op('Mul', [logProbabilities, targets]);
  const perImage = b.op('ReduceSum', [perClass, b.ints([-1])], { keepdims: 0 });
  const mean = b.op('ReduceMean', [perImage, b.ints([0])], { keepdims: 0 });
  return b.op('Mul', [mean, b.scalar(-factor)]);
}

/**
 * Cross-entropy of logits `[N, classes]` against label distributions `[N, classes]`, the mean over
 * the batch. Label smoothing and mixed labels are in the targets.
 */
export function crossEntropy(b: Builder, logits: Value, targets: Value, factor = 1): Value {
  return crossEntropyOf(b, b.op('LogSoftmax', [logits], { axis: -1 }), targets, factor);
}

/** A value, and what a teacher has in its place. */
export type Taught = readonly [ours: Value, theirs: Value];

type DistillationLoss = (
  b: Builder,
  logits: Value,
  targets: Value,
  taught: readonly Taught[],
  distillation: Required<Omit<Distillation, 'kind'>>,
) => Value;

/**
 * `(1 - weight) * crossEntropy + weight * T^2 * KL(softmax(teacher / T) || softmax(logits / T))`, the
 * mean over the batch.
 */
const softLoss: DistillationLoss = (b, logits, targets, [taught], { weight, temperature }) => {
  const soft = (value: Value) => {
    const scaled = temperature === 1 ? value : b.op('Mul', [value, b.scalar(1 / temperature)]);
    return b.op('LogSoftmax', [scaled], { axis: -1 });
  };
  const ours = soft(logits);
  const theirs = soft(taught![1]);
  const difference = b.op('Sub', [ours, theirs]);
  const divergence = crossEntropyOf(b, difference, b.op('Exp', [theirs]), weight * temperature * temperature);
  return b.op('Add', [crossEntropy(b, logits, targets, 1 - weight), divergence]);
};

/** `(1 - weight) * crossEntropy(targets) + weight * crossEntropy(argmax(teacher))`, the mean over the batch. */
const hardLoss: DistillationLoss = (b, logits, targets, [taught], { weight }) => {
  const chosen = b.op('ArgMax', [taught![1]], { axis: -1, keepdims: 0 });
  const classes = Tensor.int64([logits.shape!.at(-1) as number]);
  const labels = b.op('OneHot', [chosen, classes, Tensor.float32([2], [0, 1])], { axis: -1 });
  const share = (value: Value, factor: number) => b.op('Mul', [value, b.scalar(factor)]);
  return crossEntropy(b, logits, b.op('Add', [share(targets, 1 - weight), share(labels, weight)]));
};

/** `(1 - weight) * crossEntropy + weight * outputDistance`. */
const featureLoss: DistillationLoss = (b, logits, targets, taught, { weight }) => {
  const distance = b.op('Mul', [outputDistance(b, taught), b.scalar(weight)]);
  return b.op('Add', [crossEntropy(b, logits, targets, 1 - weight), distance]);
};

const losses: Record<DistillKind, DistillationLoss> = {
  soft: softLoss,
  hard: hardLoss,
  feature: featureLoss,
};

/**
 * The loss of a model that learns from labels and from a teacher.
 * @param taught the logits; of the kind `feature` what blocks hand on
 * @throws UserError on a weight outside 0..1 or a temperature that is not above 0
 */
export function distillationLoss(
  b: Builder,
  logits: Value,
  targets: Value,
  taught: readonly Taught[],
  { kind = 'soft', weight, temperature = 1 }: Distillation,
): Value {
  if (!(weight >= 0 && weight <= 1)) throw new UserError(`distillation weight ${weight} is outside 0..1`);
  if (!(temperature > 0)) throw new UserError(`distillation temperature ${temperature} must be above 0`);
  return losses[kind](b, logits, targets, taught, { weight, temperature });
}

/**
 * How far outputs are from a teacher's: the squared difference over the teacher's own square, each over the whole
 * batch, the mean over the outputs. What the outputs mean does not matter, nor how large they are.
 * @param pairs each of one shape
 */
export function outputDistance(b: Builder, pairs: readonly Taught[]): Value {
  const distances = pairs.map(([ours, theirs]) => {
    const sum = (value: Value) => b.op('ReduceSumSquare', [value], { keepdims: 0 });
    const size = b.op('Add', [sum(theirs), b.scalar(1e-12)]);
    return b.op('Div', [sum(b.op('Sub', [ours, theirs])), size]);
  });
  const total = distances.reduce((a, c) => b.op('Add', [a, c]));
  return pairs.length === 1 ? total : b.op('Mul', [total, b.scalar(1 / pairs.length)]);
}

/** How many rows have their largest logit where the target is largest; float32 scalar. */
export function correctCount(b: Builder, logits: Value, targets: Value): Value {
  const best = (value: Value) => b.op('ArgMax', [value], { axis: -1, keepdims: 0 });
  const hits = b.op('Cast', [b.op('Equal', [best(logits), best(targets)])], { to: 1 });
  return b.op('ReduceSum', [hits], { keepdims: 0 });
}
