import type { Range } from './affine.ts';
import type { FilledBins } from './entropy.ts';

/** Bins on either side of 0. */
const half = 4096;
/** Where a histogram begins that has seen nothing but zeros. */
const smallestWidth = 2 ** -100;

/**
 * Counts over bins `[i * width, (i + 1) * width)`, i from -4096 to 4095, where the width is a power of
 * two. When a number falls outside, the width doubles and neighbours are added up: bins of one width
 * are halves of the next one's, so merging is exact and the result does not depend on the order in
 * which batches come. The widest number is always in the upper half of the bins: at least 2048 bins
 * cover its side.
 */
export class Histogram {
  width = 0;
  readonly counts = new Float64Array(2 * half);
  total = 0;
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;

  /** @param range lowest and highest of the values */
  add(values: Float32Array, range: Range): void {
    this.min = Math.min(this.min, range.min);
    this.max = Math.max(this.max, range.max);
    this.#fit(Math.max(-range.min, range.max));
    const { counts } = this;
    const inverse = 1 / this.width;
    for (let i = 0; i < values.length; i++) counts[Math.floor(values[i]! * inverse) + half]!++;
    this.total += values.length;
  }

  #fit(magnitude: number): void {
    if (this.width === 0) {
      this.width = magnitude > 0 ? 2 ** Math.ceil(Math.log2(magnitude / half)) : smallestWidth;
    }
    while (magnitude >= this.width * half) {
      const merged = new Float64Array(2 * half);
      for (let i = -half; i < half; i++) merged[Math.floor(i / 2) + half]! += this.counts[i + half]!;
      this.counts.set(merged);
      this.width *= 2;
    }
  }

  /** The lower edge of a bin. */
  edge(bin: number): number {
    return (bin - half) * this.width;
  }

  /** The bins that count something, by their middles. */
  filled(): FilledBins {
    const middles: number[] = [];
    const counts: number[] = [];
    this.counts.forEach((count, bin) => {
      if (count === 0) return;
      middles.push(this.edge(bin) + this.width / 2);
      counts.push(count);
    });
    return { middles, counts, width: this.width };
  }

  /** The number that a share of all lie below, interpolated inside its bin. */
  quantile(share: number): number {
    const wanted = share * this.total;
    let below = 0;
    for (let bin = 0; bin < this.counts.length; bin++) {
      const count = this.counts[bin]!;
      if (count > 0 && below + count >= wanted) {
        const at = this.edge(bin) + (this.width * (wanted - below)) / count;
        return Math.min(this.max, Math.max(this.min, at));
      }
      below += count;
    }
    return this.max;
  }
}
