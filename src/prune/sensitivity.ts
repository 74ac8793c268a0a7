import { backward, gradientOpset } from '../autodiff/backward.ts';
import { recompute } from '../autodiff/recompute.ts';
import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { raiseOpset } from '../graph/raise-opset.ts';
import { freeName } from '../graph/replace.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import { isClassifier } from '../zoo/model-info.ts';
import { accumulated, type Images, meanOverImages, type SensitivityOptions } from './accumulate.ts';
import { type Accumulator, accumulate } from './accumulator.ts';
import { exposeNormalized, perSampleSquares } from './per-sample.ts';

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
  const build = (again: boolean) => {
    const { graph, loss, twins, classes } = lossGraph(model, parameters, 'mean');
    const forward = new Set(graph.nodes);
    // The loss is a number, the gradients are as large as the model.
    const part = graph.addInput(freeName(graph, 'part'), 'float32', []);
    const gradients = backward(graph, new Builder(graph).op('Mul', [loss, part]), twins);
    const found = twins.map((twin) => gradients.get(twin)!);
    return frugal(accumulate(graph, found, shapesOf(parameters), classes, 'sum'), forward, again);
  };
  const share = (_: number, images: number, batch: number) => ({ part: images / batch });
  return byParameter(parameters, await accumulated(engine, build, batches, options, share));
}

/** An accumulator whose activations are computed again for the backward pass, or as it is. */
function frugal(accumulator: Accumulator, forward: ReadonlySet<Node>, again: boolean): Accumulator {
  if (again) recompute(accumulator.graph, forward, accumulator.graph.inputs[0]!);
  return accumulator;
}

const shapesOf = (parameters: readonly Value[]) => parameters.map(({ staticShape }) => staticShape);

const byParameter = (parameters: readonly Value[], tensors: readonly Tensor[]): Map<Value, Tensor> =>
  new Map(parameters.map((parameter, i) => [parameter, tensors[i]!]));

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
  const build = (again: boolean) => {
    const { graph, squares, classes, atMost, forward } = squaresOf(model, parameters);
    const accumulator = { ...accumulate(graph, squares, shapesOf(parameters), classes), atMost };
    return frugal(accumulator, forward, again);
  };
  return byParameter(parameters, await accumulated(engine, build, batches, options, meanOverImages));
}

/**
 * The diagonal of `meanSquaredGradients` where it is needed: for each axis of each parameter w the sums of w^2 h along the
 * others, a number an index. What was seen of an image is summed up at once, so that no second and third copy of the
 * model is in memory.
 * @throws UserError as `summedGradients`
 */
export async function axisCurvatures(
  engine: Engine,
  model: Graph,
  parameters: readonly Value[],
  batches: AsyncIterable<Images>,
  options: SensitivityOptions = {},
): Promise<Map<Value, Map<number, Tensor>>> {
  const places = parameters.flatMap((parameter) =>
    parameter.staticShape.flatMap((length, axis) => (length > 1 ? [{ parameter, axis, length }] : [])),
  );
  const build = (again: boolean) => {
    const { graph, twins, squares, classes, atMost, forward } = squaresOf(model, parameters);
    const b = new Builder(graph);
    const weighted = new Map(
      parameters.map((parameter, i) => {
        const twin = twins[i]!;
        return [parameter, b.op('Mul', [b.op('Mul', [squares[i]!, twin]), twin])];
      }),
    );
    const found = places.map(({ parameter, axis }) => {
      const others = [...parameter.staticShape.keys()].filter((one) => one !== axis);
      const terms = weighted.get(parameter)!;
      return others.length ? b.op('ReduceSum', [terms, b.ints(others)], { keepdims: 0 }) : terms;
    });
    const shapes = places.map(({ length }) => [length]);
    return frugal({ ...accumulate(graph, found, shapes, classes), atMost }, forward, again);
  };
  const sums = await accumulated(engine, build, batches, options, meanOverImages);
  const curvatures = new Map(parameters.map((parameter) => [parameter, new Map<number, Tensor>()]));
  places.forEach(({ parameter, axis }, i) => {
    curvatures.get(parameter)!.set(axis, sums[i]!);
  });
  return curvatures;
}

/** A graph of the sums over a batch of squared gradients of each image's own loss. */
interface Squares {
  readonly graph: Graph;
  /** What the parameters are in it. */
  readonly twins: readonly Value[];
  readonly squares: readonly Value[];
  readonly classes: number | undefined;
  /** Images a batch must not exceed. */
  readonly atMost: number;
  /** The nodes of the forward pass. */
  readonly forward: ReadonlySet<Node>;
}

const squaresOf = (model: Graph, parameters: readonly Value[]): Squares =>
  batchedSquares(model, parameters) ?? singleSquares(model, parameters);

function batchedSquares(model: Graph, parameters: readonly Value[]): Squares | undefined {
  const { graph, loss, twins, classes } = lossGraph(model, parameters, 'sum', exposeNormalized);
  const forward = new Set(graph.nodes);
  const rules = twins.map((twin) => perSampleSquares(twin, graph.inputs[0]!.shape![0]!));
  if (rules.some((rule) => !rule)) return undefined;
  const gradients = backward(
    graph,
    loss,
    rules.map((rule) => rule!.output),
  );
  const b = new Builder(graph);
  const squares = rules.map((rule) => rule!.squares(b, gradients.get(rule!.output)!));
  return { graph, twins, squares, classes, atMost: Number.POSITIVE_INFINITY, forward };
}

function singleSquares(model: Graph, parameters: readonly Value[]): Squares {
  const { graph, loss, twins, classes } = lossGraph(model, parameters, 'sum');
  const forward = new Set(graph.nodes);
  const gradients = backward(graph, loss, twins);
  const b = new Builder(graph);
  const squares = twins.map((twin) => b.op('Mul', [gradients.get(twin)!, gradients.get(twin)!]));
  return { graph, twins, squares, classes, atMost: 1, forward };
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
