import { UserError } from '../common/errors.ts';
import type { ProgressTask } from '../common/progress.ts';
import type { Batch } from '../dataset/dataset.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, SessionOptions, Tensors } from '../runtime/session.ts';
import type { Accumulator } from './accumulator.ts';
import { withinMemory } from './score-memory.ts';

export interface SensitivityOptions extends SessionOptions {
  /** Counts images. */
  task?: ProgressTask;
  /** Bytes that the whole process may take; left out: what is fastest. */
  memory?: number | undefined;
}

export type Images = Pick<Batch, 'pixels' | 'labels'>;

/** Weights for what is summed over the images of a batch to become the mean over all images. */
export const meanOverImages = (before: number, images: number) => ({
  keep: before / (before + images),
  add: 1 / (before + images),
});

/**
 * What an accumulator knows when all batches are through, in the order of its shapes.
 * @param build makes it; `again`: activations are computed again for the backward pass, to need less memory
 * @param numbers further inputs, by how many images there were before, are, and are in their batch
 * @throws UserError when there are no images, or a label is no class of the model
 */
export async function accumulated(
  engine: Engine,
  build: (again: boolean) => Accumulator,
  batches: AsyncIterable<Images>,
  { task, memory, ...options }: SensitivityOptions,
  numbers: (before: number, images: number, batch: number) => Record<string, number>,
): Promise<Tensor[]> {
  const fitted = memory === undefined ? undefined : withinMemory(build, memory);
  const { graph, shapes, classes, atMost } = fitted?.accumulator ?? build(false);
  const session = await engine.load(graph, { ...options, ...fitted?.session });
  try {
    const [pixelsName, labelsName] = graph.inputs.map((input) => input.name) as [string, string];
    const given = (labels: Tensor): Tensors => (classes === undefined ? {} : { [labelsName]: labels });
    let sums = shapes.map((shape) => Tensor.zeros('float32', shape));
    let done = 0;
    for await (const batch of batches) {
      if (classes !== undefined) checkLabels(batch.labels, classes);
      for (const { pixels, labels } of parts(batch, atMost)) {
        const feeds: Tensors = { [pixelsName]: pixels, ...given(labels) };
        for (const [name, number] of Object.entries(numbers(done, labels.size, batch.labels.size))) {
          feeds[name] = Tensor.scalar(number);
        }
        sums.forEach((sum, i) => {
          feeds[`before.${i}`] = sum;
        });
        const next = await session.run(feeds);
        sums = shapes.map((_, i) => next[`next.${i}`]!);
        done += labels.size;
        task?.update(done);
      }
    }
    if (done === 0) throw new UserError('importance needs images, and there are none');
    return sums;
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
