import { Random } from '../common/random.ts';
import type { Value } from '../graph/graph.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';

/**
 * Something to try a model on: standard normal numbers, as normalized images roughly are, for an input of floats, any pixels
 * for one of bytes. The same for the same seed.
 * @param batch the length of axes that have no number
 * @returns undefined for an input of unknown shape, or of another type
 */
export function noiseFor({ shape, dtype }: Value, batch: number, seed: number): Tensor | undefined {
  const dims = shape?.map((dim) => (typeof dim === 'number' ? dim : batch));
  const random = new Random(seed);
  if (!dims) return undefined;
  const numbers = { length: elementCount(dims) };
  if (dtype === 'uint8')
    return new Tensor(
      'uint8',
      dims,
      Uint8Array.from(numbers, () => random.below(256)),
    );
  if (dtype !== 'float32' && dtype !== 'float16') return undefined;
  return Tensor.float32(
    dims,
    Float32Array.from(numbers, () => random.normal()),
  );
}
