/** What one slice of a group says of its units; undefined where a unit has no part in it. */
export type SliceScores = readonly (number | undefined)[];

/** The scores of a group's units by those of its slices, the one that the group is named after first. */
type Reduction = (slices: readonly SliceScores[], size: number) => Float64Array;

const overSlices = (
  slices: readonly SliceScores[],
  size: number,
  start: number,
  step: (before: number, score: number) => number,
): Float64Array =>
  Float64Array.from({ length: size }, (_, unit) =>
    slices.reduce((found, scores) => {
      const score = scores[unit];
      return score === undefined ? found : step(found, score);
    }, start),
  );

const summed: Reduction = (slices, size) => overSlices(slices, size, 0, (a, b) => a + b);

/** How the slices of a unit become one score, by Torch-Pruning's names. */
export const groupReductions = {
  mean: (slices, size) => summed(slices, size).map((total) => total / Math.max(1, slices.length)),
  sum: summed,
  max: (slices, size) => overSlices(slices, size, 0, Math.max),
  prod: products,
  first: (slices, size) => summed(slices.slice(0, 1), size),
} as const satisfies Record<string, Reduction>;

export type GroupReduction = keyof typeof groupReductions;

/** Over the group's largest, as products of tens of small numbers are less than a number can be. */
function products(slices: readonly SliceScores[], size: number): Float64Array {
  const logs = overSlices(slices, size, 0, (total, score) => total + Math.log(score));
  const largest = Math.max(...logs);
  return largest === -Infinity ? new Float64Array(size) : logs.map((log) => Math.exp(log - largest));
}
