import { backward, gradientOpset } from '../autodiff/backward.ts';
import { UserError } from '../common/errors.ts';
import type { ProgressTask } from '../common/progress.ts';
import type { Batch } from '../dataset/dataset.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { raiseOpset } from '../graph/raise-opset.ts';
import { freeName } from '../graph/replace.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, SessionOptions, Tensors } from '../runtime/session.ts';
import { isClassifier } from '../zoo/model-info.ts';
import { exposeNormalized, perSampleSquares } from './per-sample.ts';

export interface SensitivityOptions extends SessionOptions {
  /** Counts images. */
  task?: ProgressTask;
}

type Images = Pick<Batch, 'pixels' | 'labels'>;

/** A graph that folds what one batch says of each parameter into what was known before. */
interface Accumulator {
  readonly graph: Graph;
  readonly parameters: readonly Value[];
  /** Of a classifier, whose loss looks at labels. */
  readonly classes: number | undefined;
  /** Images a batch must not exceed. */
  readonly atMost: number;
}

/**
 * The gradient of the mean loss (`lossGraph`) with respect to each parameter, added up over batches
 * (what `loss.backward()` leaves in PyTorch after a pass without `zero_grad`).
 * @throws UserError when there are no batches, or the model takes or gives what no loss can be made of
 */
export async function summedGradients(
  engine: Engine,
  model: Graph,
  parameters: readonly Value[],
  batches: AsyncIterable<Images>,
  options: SensitivityOptions = {},
): Promise<Map<Value, Tensor>> {
  const { graph, loss, twins, classes } = lossGraph(model, parameters, 'mean');
  const gradients = backward(graph, loss, twins);
  const accumulator = accumulate(
    graph,
    parameters,
    twins.map((twin) => gradients.get(twin)!),
    classes,
  );
  return run(engine, accumulator, batches, options, () => ({ keep: 1, add: 1 }));
}

/**
 * The mean over images of the squared gradient of each image's own loss: of a classifier the diagonal of the
 * empirical Fisher matrix. One backward pass serves a whole batch where each scored parameter is read
 * once by a Linear, LayerNormalization or patch-embedding Conv; else images go one by one.
 * @throws UserError as `summedGradients`
 */
export async function meanSquaredGradients(
  engine: Engine,
  model: Graph,
  parameters: readonly Value[],
  batches: AsyncIterable<Images>,
  options: SensitivityOptions = {},
): Promise<Map<Value, Tensor>> {
  const accumulator = batchedSquares(model, parameters) ?? singleSquares(model, parameters);
  return run(engine, accumulator, batches, options, (before, images) => ({
    keep: before / (before + images),
    add: 1 / (before + images),
  }));
}

function batchedSquares(model: Graph, parameters: readonly Value[]): Accumulator | undefined {
  const { graph, loss, twins, classes } = lossGraph(model, parameters, 'sum', exposeNormalized);
  const rules = twins.map((twin) => perSampleSquares(twin, graph.inputs[0]!.shape![0]!));
  if (rules.some((rule) => !rule)) return undefined;
  const gradients = backward(
    graph,
    loss,
    rules.map((rule) => rule!.output),
  );
  const b = new Builder(graph);
  const squares = rules.map((rule) => rule!.squares(b, gradients.get(rule!.output)!));
  return accumulate(graph, parameters, squares, classes);
}

function singleSquares(model: Graph, parameters: readonly Value[]): Accumulator {
  const { graph, loss, twins, classes } = lossGraph(model, parameters, 'sum');
  const gradients = backward(graph, loss, twins);
  const b = new Builder(graph);
  const squares = twins.map((twin) => b.op('Mul', [gradients.get(twin)!, gradients.get(twin)!]));
  return { ...accumulate(graph, parameters, squares, classes), atMost: 1 };
}

/**
 * A copy of the model with a loss, its mean or sum over the batch: of a classifier the cross-entropy with an input
 * `labels`; of any other model half the mean square of each output, added up, which needs no labels.
 */
function lossGraph(
  model: Graph,
  parameters: readonly Value[],
  over: 'mean' | 'sum',
  prepare: (graph: Graph) => void = () => {},
) {
  const { graph, values } = model.clone();
  raiseOpset(graph, gradientOpset);
  if (graph.inputs.length !== 1) throw new UserError('the loss needs a model with one input');
  const twins = parameters.map((parameter) => values.get(parameter)!);
  prepare(graph);
  const b = new Builder(graph);
  if (!isClassifier(model)) return { graph, loss: halfMeanSquares(b, over), twins, classes: undefined };
  const [logits] = graph.outputs as [Value];
  const classes = logits.shape?.[1];
  if (logits.shape?.length !== 2 || typeof classes !== 'number') {
    throw new UserError('the loss of a classifier needs an output of logits [N, classes]');
  }
  const labels = graph.addInput(graph.uniqueName('labels'), 'int64', [logits.shape[0]!]);
  const targets = b.op('OneHot', [labels, Tensor.scalar(classes, 'int64'), Tensor.float32([2], [0, 1])]);
  const logProbabilities = b.op('LogSoftmax', [logits], { axis: -1 });
  const perImage = b.op('ReduceSum', [b.op('Mul', [logProbabilities, targets]), b.ints([-1])], {
    keepdims: 0,
  });
  const total = b.op(over === 'mean' ? 'ReduceMean' : 'ReduceSum', [perImage, b.ints([0])], { keepdims: 0 });
  const loss = b.op('Neg', [total]);
  return { graph, loss, twins, classes };
}

/** Half the mean square of each floating-point output, added up; over an image's numbers, then over the images. */
function halfMeanSquares(b: Builder, over: 'mean' | 'sum'): Value {
  const outputs = b.graph.outputs.filter(({ dtype }) => dtype === 'float32');
  if (outputs.length === 0) throw new UserError('the loss needs an output in float32');
  const images = () => b.op('Cast', [b.op('Shape', [b.graph.inputs[0]!], { start: 0, end: 1 })], { to: 1 });
  const parts = outputs.map((output) => {
    const square = b.op('Mul', [output, output]);
    const mean = b.op('ReduceMean', [square], { keepdims: 0 });
    return b.op('Mul', [
      over === 'sum' ? b.op('Squeeze', [b.op('Mul', [mean, images()])]) : mean,
      b.scalar(0.5),
    ]);
  });
  return parts.reduce((a, c) => b.op('Add', [a, c]));
}

/** `next = before * keep + found * add` for each parameter. */
function accumulate(
  graph: Graph,
  parameters: readonly Value[],
  found: readonly Value[],
  classes: number | undefined,
): Accumulator {
  const b = new Builder(graph);
  const keep = graph.addInput(freeName(graph, 'keep'), 'float32', []);
  const add = graph.addInput(freeName(graph, 'add'), 'float32', []);
  graph.outputs.length = 0;
  parameters.forEach((parameter, i) => {
    const before = graph.addInput(freeName(graph, `before.${i}`), 'float32', parameter.staticShape);
    freeName(graph, `next.${i}`);
    const sum = b.op('Add', [b.op('Mul', [before, keep]), b.op('Mul', [found[i]!, add])], {}, `next.${i}`);
    graph.outputs.push(sum);
  });
  graph.removeDead();
  return { graph, parameters, classes, atMost: Number.POSITIVE_INFINITY };
}

async function run(
  engine: Engine,
  { graph, parameters, classes, atMost }: Accumulator,
  batches: AsyncIterable<Images>,
  { task, ...options }: SensitivityOptions,
  weights: (before: number, images: number) => { keep: number; add: number },
): Promise<Map<Value, Tensor>> {
  const session = await engine.load(graph, options);
  try {
    const [pixelsName, labelsName] = graph.inputs.map((input) => input.name) as [string, string];
    const given = (labels: Tensor): Tensors => (classes === undefined ? {} : { [labelsName]: labels });
    let sums = parameters.map((parameter) => Tensor.zeros('float32', parameter.staticShape));
    let done = 0;
    for await (const batch of batches) {
      if (classes !== undefined) checkLabels(batch.labels, classes);
      for (const { pixels, labels } of parts(batch, atMost)) {
        const { keep, add } = weights(done, labels.size);
        const feeds: Tensors = {
          [pixelsName]: pixels,
          ...given(labels),
          keep: Tensor.scalar(keep),
          add: Tensor.scalar(add),
        };
        sums.forEach((sum, i) => {
          feeds[`before.${i}`] = sum;
        });
        const next = await session.run(feeds);
        sums = parameters.map((_, i) => next[`next.${i}`]!);
        done += labels.size;
        task?.update(done);
      }
    }
    if (done === 0) throw new UserError('importance needs images, and there are none');
    return new Map(parameters.map((parameter, i) => [parameter, sums[i]!]));
  } finally {
    await session.dispose();
  }
}

function checkLabels(labels: Tensor, classes: number): void {
  const wrong = labels.integers.find((label) => label < 0 || label >= classes);
  if (wrong !== undefined) throw new UserError(`label ${wrong} is outside the model's ${classes} classes`);
}

/** A batch in pieces of at most `size` images. */
function* parts(batch: Images, size: number): Generator<Images> {
  const count = batch.labels.size;
  if (count <= size) {
    yield batch;
    return;
  }
  const image = batch.pixels.size / count;
  for (let start = 0; start < count; start += size) {
    const end = Math.min(count, start + size);
    yield {
      pixels: Tensor.float32(
        batch.pixels.shape.with(0, end - start),
        batch.pixels.floats.subarray(start * image, end * image),
      ),
      labels: Tensor.int64(batch.labels.integers.slice(start, end)),
    };
  }
}
