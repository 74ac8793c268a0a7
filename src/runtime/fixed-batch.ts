import { Tensor } from '../graph/tensor.ts';

/**
 * Images `[N, ...]`, float32, in batches for a model that takes `size` at a time and no other number. The
 * last batch is filled up with copies of its last image.
 * @returns batches `[size, ...]`, each with how many images of `pixels` it holds
 */
export function* fixedBatches(pixels: Tensor, size: number): Generator<{ batch: Tensor; images: number }> {
  const [total = 0, ...shape] = pixels.shape;
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
