import { overwritable } from '../autodiff/channel-normalization.ts';
import { UserError } from '../common/errors.ts';
import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { inferNode } from '../graph/infer.ts';

/** What batch norms normalize by in training: the statistics of each batch, which they learn, or those that they have. */
export const batchNormModes = ['train', 'frozen'] as const;
export type BatchNormMode = (typeof batchNormModes)[number];

/** How much of a batch's statistics goes into the running ones, PyTorch's default. */
const momentum = 0.1;

/** Batches of fewer images say too little of the data to learn its statistics from them. */
const enoughImages = 16;

/**
 * Has each BatchNormalization normalize by the mean and the biased variance of the batch, in place, so that the gradient
 * flows through both, and makes inputs of its running statistics, as PyTorch's train mode:
 *
 *     mean' = 0.9 mean + 0.1 mean(x)        var' = 0.9 var + 0.1 var(x) n / (n - 1)
 *
 * with n numbers a channel in the batch. Statistics that several norms share are updated once by each, in the order of the
 * graph. It does not fire on statistics that are computed, or read as something else too.
 *
 * @returns each running statistic, an input now, and what it is after the batch
 */
export function normalizeByBatch(graph: Graph): Map<Value, Value> {
  const next = new Map<Value, Value>();
  for (const node of learningNorms(graph)) {
    const [x, given] = [node.input(0), [node.input(3), node.input(4)]];
    const b = new Builder(graph, node);
    given.forEach((value, i) => {
      if (!next.has(value)) graph.constantToInput(value);
      node.setInput(3 + i, overwritable(b, next.get(value) ?? value));
    });
    node.setAttribute('training_mode', 1);
    node.setAttribute('momentum', float(0)); // its running statistics are then those of the batch
    graph.extendOutputs(node, 3);
    inferNode(node);
    b.before = graph.nodes[graph.nodes.indexOf(node) + 1];
    b.scope(`statistics.${node.name}`, () => {
      const size = b.op('Cast', [b.op('Size', [x])], { to: 1 });
      const channels = b.scalar(given[1]!.staticShape[0]!);
      const correction = b.op('Div', [size, b.op('Sub', [size, channels])]);
      const found = [node.output(1), b.op('Mul', [node.output(2), correction])];
      given.forEach((value, i) => {
        const kept = b.op('Mul', [next.get(value) ?? value, b.scalar(1 - momentum)]);
        next.set(value, b.op('Add', [kept, b.op('Mul', [found[i], b.scalar(momentum)])]));
      });
    });
  }
  return next;
}

/** The batch norms whose running statistics are constants, read as nothing else. */
const learningNorms = (graph: Graph): Node[] =>
  batchNorms(graph).filter(
    (node) => node.outputs.length === 1 && [3, 4].every((index) => isStatistic(node.input(index), index)),
  );

/** The running statistics that training would change. */
export const learnedStatistics = (graph: Graph): Value[] => [
  ...new Set(learningNorms(graph).flatMap((node) => [node.input(3), node.input(4)])),
];

const batchNorms = (graph: Graph): Node[] => graph.nodes.filter(({ op }) => op === 'BatchNormalization');

const isStatistic = (value: Value, index: number): boolean =>
  value.isConstant &&
  value.dtype === 'float32' &&
  value.uses.every((use) => use.index === index && use.node.op === 'BatchNormalization');

/** Whether no batch norm has seen an image: all means are 0, all variances 1. */
const areFresh = (norms: readonly Node[]): boolean =>
  norms.every((node) =>
    [3, 4].every((index) => node.input(index).tensor!.floats.every((number) => number === index - 3)),
  );

/** Whether a channel has one number in an image. */
const isSinglePlace = (node: Node): boolean =>
  node.input(0).shape?.every((dim, axis) => axis < 2 || dim === 1) ?? false;

/** How the batch norms of a model train, and that in a line. */
export interface BatchNormTraining {
  mode: BatchNormMode;
  note: string;
}

/**
 * How the batch norms of a model train: as wanted, or else by the statistics of the batches where those have at least 16
 * images, or where there are no other statistics yet. Undefined where it has no batch norm.
 * @throws UserError when they are to learn statistics and can't
 */
export function batchNormTraining(
  graph: Graph,
  wanted: BatchNormMode | undefined,
  batchSize: number,
): BatchNormTraining | undefined {
  const norms = batchNorms(graph).length;
  if (norms === 0) return undefined;
  const learning = learningNorms(graph);
  const few = batchSize < enoughImages && !areFresh(learning);
  const mode = wanted ?? (few || learning.length === 0 ? 'frozen' : 'train');
  if (mode === 'frozen') {
    const why = wanted || !few ? '' : `: ${batchSize} images a batch are few to learn them from`;
    const note = `batch norm frozen: the running statistics of ${norms} batch norms stay as they are, and their scales and shifts are trained${why}`;
    return { mode, note };
  }
  if (learning.length === 0) {
    throw new UserError(
      'no batch norm of this model has running statistics of its own that could be learned: --batch-norm frozen',
    );
  }
  const single = batchSize === 1 ? learning.find(isSinglePlace) : undefined;
  if (single) {
    throw new UserError(
      `${single.label} has one number a channel in a batch of one image, which has no variance: take larger batches, or --batch-norm frozen`,
    );
  }
  const others = norms - learning.length;
  const rest = others ? `; ${others} more keep theirs, which are computed or used elsewhere too` : '';
  const note = `batch norm train: ${learning.length} batch norms normalize by each batch and learn its statistics${rest}`;
  return { mode, note };
}
