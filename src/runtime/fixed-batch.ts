import type { Dim } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';

/**
 * Images `[N, ...]`, float32, in batches of the one size that a model takes; the last is filled up with
 * copies of its last image. All at once where the model takes any number.
 * @param size the first axis of the model's input
 * @returns batches, each with how many images of `pixels` it holds
 */
export function* fixedBatches(
  pixels: Tensor,
  size: Dim | undefined,
): Generator<{ batch: Tensor; images: number }> {
  const [total = 0, ...shape] = pixels.shape;
  if (typeof size !== 'number') {
    yield { batch: pixels, images: total };
    return;
  }
  const length = pixels.size / total;
  for (let from = 0; from < total; from += size) {
    const images = Math.min(size, total - from);
    const numbers = pixels.floats.subarray(from * length, (from + images) * length);
    if (images === size) {
      yield { batch: Tensor.float32([size, ...shape], numbers), images };
      continue;
    }
    const filled = new Float32Array(size * length);
    filled.set(numbers);
    for (let i = images; i < size; i++) filled.set(numbers.subarray(-length), i * length);
    yield { batch: Tensor.float32([size, ...shape], filled), images };
  }
}
