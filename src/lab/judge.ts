import type { Runner } from './runners.ts';

/** What a file must give for one sample. */
export interface Expected {
  readonly values: readonly number[];
  /** Places of these values among the outputs; without it they are all of them, in order. */
  readonly indices?: readonly number[];
}

/** What is expected of a file, and how far it may be off. */
export interface Expectation {
  readonly samples: readonly Expected[];
  /** Largest `|found - expected| / |expected|` over all samples, Euclidean, of the file itself. */
  readonly tolerance: number;
  /** What the values are from, for people. */
  readonly from: string;
}

export interface Verdict {
  /** `|found - expected| / |expected|`; null when something that is no number came. */
  readonly error: number | null;
  readonly right: boolean;
}

/** Graphics processors may compute float32 in float16. */
const graphicsTolerance = 2e-2;

/**
 * Whether outputs are right: their Euclidean distance from what is expected, over all samples together, relative to it.
 * @param found the outputs of each sample
 */
export function judge(
  found: readonly ArrayLike<number>[],
  { samples, tolerance }: Expectation,
  accelerator: Runner['accelerator'] | 'cpu',
): Verdict {
  let off = 0;
  let norm = 0;
  let complete = found.length === samples.length;
  for (const [i, { values, indices }] of samples.entries()) {
    const outputs = found[i];
    if (!indices && outputs?.length !== values.length) complete = false;
    for (const [k, value] of values.entries()) {
      off += ((outputs?.[indices?.[k] ?? k] ?? Number.NaN) - value) ** 2;
      norm += value ** 2;
    }
  }
  const error = Math.sqrt(off / norm);
  if (!complete || !Number.isFinite(error)) return { error: null, right: false };
  return { error, right: error <= Math.max(tolerance, accelerator === 'webgpu' ? graphicsTolerance : 0) };
}
