import { UserError } from '../common/errors.ts';
import { Random } from '../common/random.ts';
import { countMacs } from '../graph/cost.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import type { Tensors } from './session.ts';

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

/** A model of fewer multiply-accumulates is tried on two images, so that it shows when they are mixed; a larger one on one. */
const costly = 8e9;

/**
 * Noise for each input of a model, the same each time.
 * @throws UserError when there is none for one of them, by its name and type
 */
export function noiseFeeds(graph: Graph): Tensors {
  const batch = countMacs(graph) < costly ? 2 : 1;
  const feeds: Tensors = {};
  for (const input of graph.inputs) {
    if (input.isConstant) continue;
    const noise = noiseFor(input, batch, 20);
    if (noise?.dtype !== input.dtype)
      throw new UserError(`there are no numbers to try for its input ${input.name} of type ${input.dtype}`);
    feeds[input.name] = noise!;
  }
  return feeds;
}
