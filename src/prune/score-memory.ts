import { liveBytes } from '../autodiff/live-bytes.ts';
import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { dataTypes } from '../graph/tensor.ts';
import { type SessionOptions, withoutPacking } from '../runtime/session.ts';
import type { Accumulator } from './accumulator.ts';

/** An accumulator, and how it is run within some memory. */
export interface Fitted {
  readonly accumulator: Accumulator;
  readonly session: SessionOptions;
}

/** Freed memory goes back to the system. */
const returned: SessionOptions = { memoryArena: false };

/** From the fastest to the one that needs least. */
const ways: readonly { again: boolean; session: SessionOptions; copies: number }[] = [
  { again: false, session: returned, copies: 4.6 },
  { again: false, session: { ...returned, ...withoutPacking }, copies: 3.4 },
  { again: true, session: { ...returned, ...withoutPacking }, copies: 3.4 },
];

/** Images that go through together. */
const parts = [64, 32, 16, 8, 4, 2, 1];

/**
 * The fastest way to run an accumulator whose peak is within some memory: fewer images at a time; weights not laid out for
 * speed; activations computed a second time for the backward pass. The results are those of whole batches but for rounding.
 *
 * The peak is estimated. What the factors are for was measured on a DeiT-Base: of weights, theirs in the engine, turned for
 * the backward pass, and packed; of activations, that the engine runs nodes in another order and that the system's allocator
 * keeps some of what was freed.
 *
 * @param build the accumulator; `again`: with activations computed again for the backward pass
 * @param memory bytes of the whole process
 * @throws UserError when no way needs as little; it names the least
 */
export function withinMemory(build: (again: boolean) => Accumulator, memory: number): Fitted {
  let least = Number.POSITIVE_INFINITY;
  for (const { again, session, copies } of ways) {
    const accumulator = build(again);
    for (const images of parts.filter((count) => count === 1 || count <= accumulator.atMost)) {
      const needed = estimatedPeak(accumulator, images, copies);
      least = Math.min(least, needed);
      if (needed <= memory) {
        return { accumulator: { ...accumulator, atMost: Math.min(accumulator.atMost, images) }, session };
      }
    }
  }
  throw new UserError(
    `memory ${giga(memory)} GB is too little for this importance: it needs about ${giga(Math.ceil(least / 1e6) * 1e6)} GB`,
  );
}

const giga = (bytes: number): string => String(Number((bytes / 1e9).toFixed(3)));

/** A process with an engine and no model. */
const bareProcess = 1.4e8;

function estimatedPeak({ graph, shapes }: Accumulator, images: number, copies: number): number {
  const sums = shapes.reduce((bytes, shape) => bytes + 4 * shape.reduce((p, d) => p * d, 1), 0);
  return bareProcess + copies * constantBytes(graph) + 2.1 * liveBytes(graph, images) + 2 * sums;
}

const constantBytes = ({ constants }: Graph): number =>
  [...constants.values()].reduce((bytes, { tensor }) => {
    const bits = tensor!.dtype === 'string' ? 0 : dataTypes[tensor!.dtype].bits;
    return bytes + (bits / 8) * tensor!.size;
  }, 0);
