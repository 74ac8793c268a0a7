/** The lowest and highest number that a quantized value must be able to hold. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** `real ~ (quantized - zeroPoint) * scale`, quantized in [0, levels]. */
export interface Affine {
  readonly scale: number;
  readonly zeroPoint: number;
}

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
} as const satisfies Record<string, ObserverKind>;

export type ObserverName = keyof typeof observers;

/** Scales don't go below this (float32 epsilon), so that a value that is always 0 divides by something. */
const smallestScale = 2 ** -23;

/**
 * Scale and zero point for a range, stretched to contain 0 so that 0 is exact. In float32:
 * scale = max((max - min) / levels, 2^-23), zero point = -round(min / scale), half to even, within
 * [0, levels]. The numbers of PyTorch's observers for `quint8`, `per_tensor_affine`.
 */
export function affine(range: Range, levels: number): Affine {
  const min = Math.fround(Math.min(range.min, 0));
  const max = Math.fround(Math.max(range.max, 0));
  const scale = Math.max(Math.fround(Math.fround(max - min) / levels), smallestScale);
  const zeroPoint = -roundHalfEven(Math.fround(min / scale));
  return { scale, zeroPoint: Math.min(levels, Math.max(0, zeroPoint)) };
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}

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
    const middles: number[] = [];
    const counts: number[] = [];
    histogram.counts.forEach((count, bin) => {
      if (count === 0) return;
      middles.push(histogram.edge(bin) + histogram.width / 2);
      counts.push(count);
    });
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
