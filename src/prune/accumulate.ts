import { UserError } from '../common/errors.ts';
import type { ProgressTask } from '../common/progress.ts';
import type { Batch } from '../dataset/dataset.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { freeName } from '../graph/replace.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, SessionOptions, Tensors } from '../runtime/session.ts';

export interface SensitivityOptions extends SessionOptions {
  /** Counts images. */
  task?: ProgressTask;
}

export type Images = Pick<Batch, 'pixels' | 'labels'>;

/** A graph that folds what one batch says of each parameter, a tensor of some shape, into what was known before. */
export interface Accumulator {
  readonly graph: Graph;
  readonly parameters: readonly Value[];
  readonly shapes: readonly (readonly number[])[];
  /** Of a classifier, whose loss looks at labels. */
  readonly classes: number | undefined;
  /** Images a batch must not exceed. */
  readonly atMost: number;
}

/** `next = before * keep + found * add` for each parameter. @param shapes of what is found */
export function accumulate(
  graph: Graph,
  parameters: readonly Value[],
  found: readonly Value[],
  classes: number | undefined,
  shapes: readonly (readonly number[])[] = parameters.map((parameter) => parameter.staticShape),
): Accumulator {
  const b = new Builder(graph);
  const keep = graph.addInput(freeName(graph, 'keep'), 'float32', []);
  const add = graph.addInput(freeName(graph, 'add'), 'float32', []);
  graph.outputs.length = 0;
  shapes.forEach((shape, i) => {
    const before = graph.addInput(freeName(graph, `before.${i}`), 'float32', shape);
    freeName(graph, `next.${i}`);
    const sum = b.op('Add', [b.op('Mul', [before, keep]), b.op('Mul', [found[i]!, add])], {}, `next.${i}`);
    graph.outputs.push(sum);
  });
  graph.removeDead();
  return { graph, parameters, shapes, classes, atMost: Number.POSITIVE_INFINITY };
}

/** Weights for what is summed over the images of a batch to become the mean over all images. */
export const meanOverImages = (before: number, images: number) => ({
  keep: before / (before + images),
  add: 1 / (before + images),
});

/**
 * What an accumulator knows of each parameter when all batches are through.
 * @param weights of what was known before, and of what a batch adds, by the images before and in it
 * @throws UserError when there are no images, or a label is no class of the model
 */
export async function accumulated(
  engine: Engine,
  { graph, parameters, shapes, classes, atMost }: Accumulator,
  batches: AsyncIterable<Images>,
  { task, ...options }: SensitivityOptions,
  weights: (before: number, images: number) => { keep: number; add: number },
): Promise<Map<Value, Tensor>> {
  const session = await engine.load(graph, options);
  try {
    const [pixelsName, labelsName] = graph.inputs.map((input) => input.name) as [string, string];
    const given = (labels: Tensor): Tensors => (classes === undefined ? {} : { [labelsName]: labels });
    let sums = shapes.map((shape) => Tensor.zeros('float32', shape));
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
