import type { Affine, Range } from './affine.ts';

/** A histogram's bins that are not empty. */
export interface FilledBins {
  readonly middles: readonly number[];
  readonly counts: readonly number[];
  readonly width: number;
}

/** Ranges that are tried: shares of the one that holds everything. */
const candidates = 64;

/** What a bin counts as that int8 gives no number to, so that it divides. */
const none = 1e-9;

/**
 * The range of which the numbers, cut off at its ends and rounded, are distributed the most like those that were
 * seen: the least Kullback-Leibler divergence of the rounded histogram from the cut one (TensorRT's calibration: S. Migacz, 8-bit
 * Inference with TensorRT, 2017). Both ends move together, up to the extremes.
 * A range holds at least as many bins as there are levels: fewer would be told apart by any rounding.
 * @param bins of which only those that count something are given, by their middles, in order
 * @param affine of a range
 * @param levels the largest quantized number
 */
export function leastDivergence(
  { middles, counts, width }: FilledBins,
  extremes: Range,
  affine: (range: Range, levels: number) => Affine,
  levels: number,
): Range {
  const widest = Math.max(-extremes.min, extremes.max);
  let best = extremes;
  let least = Number.POSITIVE_INFINITY;
  for (let i = candidates; i > 0; i--) {
    const end = (widest * i) / candidates;
    const range = { min: Math.max(extremes.min, -end), max: Math.min(extremes.max, end) };
    if (i < candidates && range.max - range.min < (levels + 1) * width) break;
    const found = divergence(middles, counts, range, affine(range, levels), levels);
    if (found < least) {
      least = found;
      best = range;
    }
  }
  return best;
}

function divergence(
  middles: readonly number[],
  counts: readonly number[],
  { min, max }: Range,
  { scale, zeroPoint }: Affine,
  levels: number,
): number {
  const inside = middles.map((middle) => middle >= min && middle <= max);
  const [first, last] = [inside.indexOf(true), inside.lastIndexOf(true)];
  if (first < 0) return Number.POSITIVE_INFINITY;
  // What is cut off counts at the ends of what is seen, and not of what is rounded.
  const seen = counts.slice(first, last + 1);
  for (let i = 0; i < first; i++) seen[0]! += counts[i]!;
  for (let i = last + 1; i < counts.length; i++) seen[last - first]! += counts[i]!;
  const levelOf = (middle: number) => Math.min(levels, Math.max(0, Math.round(middle / scale) + zeroPoint));
  const sums = new Float64Array(levels + 1);
  const bins = new Float64Array(levels + 1);
  const level = seen.map((_, i) => levelOf(middles[first + i]!));
  let total = 0;
  let rounded = 0;
  for (const [i, count] of seen.entries()) {
    sums[level[i]!]! += counts[first + i]!;
    bins[level[i]!]!++;
    total += count;
    rounded += counts[first + i]!;
  }
  let result = 0;
  for (const [i, count] of seen.entries()) {
    const p = count / total;
    const q = Math.max(none, sums[level[i]!]! / bins[level[i]!]! / rounded);
    result += p * Math.log(p / q);
  }
  return result;
}
