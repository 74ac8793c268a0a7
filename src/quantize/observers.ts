import { affine, type Range } from './affine.ts';
import { leastDivergence } from './entropy.ts';
import { Histogram } from './histogram.ts';

/** Watches one value over the calibration batches, in constant memory, and then says its range. */
export interface Observer {
  /** @param values the numbers themselves, for observers that count them; `range` is theirs */
  observe(range: Range, values?: Float32Array): void;
  /** @param levels the largest quantized number: 255, or 127 with reduced range */
  range(levels: number): Range;
}

interface ObserverKind {
  /** It must be given the numbers, not only their extremes. */
  readonly counts: boolean;
  readonly about: string;
  create(): Observer;
}

/** Ways to choose the range of an activation. */
export const observers = {
  minmax: {
    counts: false,
    about: 'everything seen fits (PyTorch: MinMaxObserver)',
    create: () => new MinMaxObserver(),
  },
  percentile: {
    counts: true,
    about: 'all but one in 100,000 of the numbers fit, as many cut off below as above',
    create: () => new PercentileObserver(99.999),
  },
  mse: {
    counts: true,
    about: 'the least mean squared error of rounding and clipping (the idea of PyTorch: HistogramObserver)',
    create: () => new MseObserver(),
  },
  entropy: {
    counts: true,
    about: 'the rounded numbers are distributed the most like those seen (TensorRT: entropy calibration)',
    create: () => new EntropyObserver(),
  },
} as const satisfies Record<string, ObserverKind>;

export type ObserverName = keyof typeof observers;

class MinMaxObserver implements Observer {
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;

  observe({ min, max }: Range): void {
    this.#min = Math.min(this.#min, min);
    this.#max = Math.max(this.#max, max);
  }

  range(): Range {
    return { min: this.#min, max: this.#max };
  }
}

abstract class HistogramObserver implements Observer {
  protected readonly histogram = new Histogram();

  observe(range: Range, values?: Float32Array): void {
    if (!values) throw new Error('a histogram needs the values');
    this.histogram.add(values, range);
  }

  abstract range(levels: number): Range;
}

class PercentileObserver extends HistogramObserver {
  readonly #cut: number;

  /** @param percentile of the numbers that are to fit */
  constructor(percentile: number) {
    super();
    this.#cut = (100 - percentile) / 200;
  }

  range(): Range {
    return { min: this.histogram.quantile(this.#cut), max: this.histogram.quantile(1 - this.#cut) };
  }
}

/**
 * The range with the least squared error over the histogram, each bin standing for its middle. The ends
 * are found in turn, each over a coarse and then a fine grid between 0 and the extreme that was seen.
 */
class MseObserver extends HistogramObserver {
  range(levels: number): Range {
    const { histogram } = this;
    const { middles, counts } = histogram.filled();
    let min = Math.min(histogram.min, 0);
    let max = Math.max(histogram.max, 0);
    const seen = { min, max };
    for (let round = 0; round < 2; round++) {
      max = best(seen.max, (end) => squaredError(middles, counts, { min, max: end }, levels));
      min = best(seen.min, (end) => squaredError(middles, counts, { min: end, max }, levels));
    }
    return { min, max };
  }
}

class EntropyObserver extends HistogramObserver {
  range(levels: number): Range {
    const extremes = { min: Math.min(this.histogram.min, 0), max: Math.max(this.histogram.max, 0) };
    return leastDivergence(this.histogram.filled(), extremes, affine, levels);
  }
}

const gridSteps = 32;

/** The end between 0 and `extreme` with the least cost; the extreme itself where nothing is cheaper. */
function best(extreme: number, cost: (end: number) => number): number {
  if (extreme === 0) return 0;
  let share = 1;
  let least = cost(extreme);
  const search = (from: number, to: number, step: number) => {
    for (let candidate = from; candidate <= to; candidate += step) {
      if (candidate <= 0 || candidate > 1) continue;
      const found = cost(candidate * extreme);
      if (found < least) {
        least = found;
        share = candidate;
      }
    }
  };
  const coarse = 1 / gridSteps;
  search(coarse, 1, coarse);
  search(share - coarse, share + coarse, coarse / gridSteps);
  return share * extreme;
}

function squaredError(
  middles: readonly number[],
  counts: readonly number[],
  range: Range,
  levels: number,
): number {
  const { scale, zeroPoint } = affine(range, levels);
  const low = -zeroPoint;
  const high = levels - zeroPoint;
  let sum = 0;
  for (let i = 0; i < middles.length; i++) {
    const steps = Math.min(high, Math.max(low, Math.round(middles[i]! / scale)));
    const error = middles[i]! - steps * scale;
    sum += counts[i]! * error * error;
  }
  return sum;
}
