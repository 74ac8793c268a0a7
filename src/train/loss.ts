import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';

/** Knowledge distillation (Hinton et al., arXiv 1503.02531). */
export interface Distillation {
  /** Share of the loss that comes from the teacher, 0 to 1. */
  weight: number;
  /** Both distributions are softened by it; the term is scaled by its square. */
  temperature: number;
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

/**
 * `(1 - weight) * crossEntropy + weight * T^2 * KL(softmax(teacher / T) || softmax(logits / T))`, the
 * mean over the batch.
 * @param teacher the teacher's logits `[N, classes]`
 * @throws UserError on a weight outside 0..1 or a temperature that is not above 0
 */
export function distillationLoss(
  b: Builder,
  logits: Value,
  targets: Value,
  teacher: Value,
  { weight, temperature }: Distillation,
): Value {
  if (!(weight >= 0 && weight <= 1)) throw new UserError(`distillation weight ${weight} is outside 0..1`);
  if (!(temperature > 0)) throw new UserError(`distillation temperature ${temperature} must be above 0`);
  const soft = (value: Value) => {
    const scaled = temperature === 1 ? value : b.op('Mul', [value, b.scalar(1 / temperature)]);
    return b.op('LogSoftmax', [scaled], { axis: -1 });
  };
  const ours = soft(logits);
  const theirs = soft(teacher);
  const difference = b.op('Sub', [ours, theirs]);
  const divergence = crossEntropyOf(b, difference, b.op('Exp', [theirs]), weight * temperature * temperature);
  return b.op('Add', [crossEntropy(b, logits, targets, 1 - weight), divergence]);
}

/**
 * How far outputs are from a teacher's: the squared difference over the teacher's own square, each over the whole
 * batch, the mean over the outputs. What the outputs mean does not matter, nor how large they are.
 * @param pairs output and teacher's output, of one shape
 */
export function outputDistance(b: Builder, pairs: readonly (readonly [Value, Value])[]): Value {
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
