import { describe, expect, it } from 'vitest';
import { affine } from './affine.ts';
import { leastDivergence } from './entropy.ts';
import { Histogram } from './histogram.ts';
import { type ObserverName, observers } from './observers.ts';

/** Standard normal numbers, the same each time. */
function normal(count: number, seed = 1): Float32Array {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

const rangeOf = (values: Float32Array) => ({
  min: values.reduce((a, b) => Math.min(a, b)),
  max: values.reduce((a, b) => Math.max(a, b)),
});

const observed = (name: ObserverName, batches: readonly Float32Array[], levels = 255) => {
  const observer = observers[name].create();
  for (const batch of batches) observer.observe(rangeOf(batch), batch);
  return observer.range(levels);
};

const squaredError = (values: Float32Array, range: { min: number; max: number }, levels: number) => {
  const { scale, zeroPoint } = affine(range, levels);
  return values.reduce((sum, value) => {
    const q = Math.min(levels, Math.max(0, Math.round(value / scale) + zeroPoint));
    return sum + (value - (q - zeroPoint) * scale) ** 2;
  }, 0);
};

describe('affine', () => {
  it('makes 0 exact and rounds half to even, in float32', () => {
    expect(affine({ min: -1, max: 1 }, 255)).toEqual({ scale: Math.fround(2 / 255), zeroPoint: 127 });
    expect(affine({ min: 0.5, max: 4 }, 127)).toEqual({ scale: Math.fround(4 / 127), zeroPoint: 0 });
    expect(affine({ min: -3, max: -1 }, 255)).toEqual({ scale: Math.fround(3 / 255), zeroPoint: 255 });
    expect(affine({ min: -0.5, max: 254.5 }, 255)).toEqual({ scale: 1, zeroPoint: 0 });
    expect(affine({ min: -1.5, max: 253.5 }, 255)).toEqual({ scale: 1, zeroPoint: 2 });
  });

  it('has a scale even for a value that is always 0', () => {
    expect(affine({ min: 0, max: 0 }, 255)).toEqual({ scale: 2 ** -23, zeroPoint: 0 });
  });
});

describe('Histogram', () => {
  it('counts like a pass over everything with the final width, whatever the order of batches', () => {
    const batches = [0.01, 3, 0.5, 40, 1].map((size, i) => normal(2000, i + 1).map((value) => value * size));
    const filled = [batches, [...batches].reverse()].map((order) => {
      const histogram = new Histogram();
      for (const batch of order) histogram.add(batch, rangeOf(batch));
      return histogram;
    });
    const [a, b] = filled as [Histogram, Histogram];
    const direct = new Float64Array(a.counts.length);
    for (const batch of batches) {
      for (const value of batch) direct[Math.floor(value / a.width) + direct.length / 2]!++;
    }
    expect(a.counts).toEqual(direct);
    expect(b.counts).toEqual(direct);
    expect(b.width).toBe(a.width);
    const widest = Math.max(-a.min, a.max);
    expect(widest).toBeLessThan(a.edge(a.counts.length));
    expect(widest).toBeGreaterThanOrEqual(a.edge(a.counts.length) / 2);
  });

  it('takes numbers on its very edges, and zeros alone', () => {
    const histogram = new Histogram();
    for (const batch of [[0, 0], [1], [-1], [1024, -1024]]) {
      const values = Float32Array.from(batch);
      histogram.add(values, rangeOf(values));
    }
    expect(histogram.counts.reduce((a, b) => a + b)).toBe(6);
    expect(histogram.quantile(0)).toBe(-1024);
    expect(histogram.quantile(1)).toBe(1024);
  });

  it('knows quantiles to a bin', () => {
    const values = normal(20_000);
    const histogram = new Histogram();
    histogram.add(values, rangeOf(values));
    const sorted = Float32Array.from(values).sort();
    for (const share of [0.01, 0.3, 0.5, 0.999]) {
      const exact = sorted[Math.ceil(share * values.length) - 1]!;
      expect(Math.abs(histogram.quantile(share) - exact)).toBeLessThanOrEqual(histogram.width);
    }
  });
});

describe('observers', () => {
  const batches = [normal(4000), normal(4000, 7)];
  batches[1]![17] = 60;
  const all = Float32Array.from([...batches[0]!, ...batches[1]!]);

  it('minmax takes everything', () => {
    expect(observed('minmax', batches)).toEqual(rangeOf(all));
  });

  it('percentile cuts off one number in 200,000 on either side', () => {
    const many = normal(400_000);
    many[3] = 1000;
    const { min, max } = observed('percentile', [many]);
    const sorted = Float32Array.from(many).sort();
    expect(max).toBeGreaterThanOrEqual(sorted.at(-4)!);
    expect(max).toBeLessThan(10);
    expect(min).toBeLessThanOrEqual(sorted[3]!);
  });

  it.each([255, 127])(
    'mse has less squared error than minmax, and than ends moved by a tenth (%i levels)',
    (levels) => {
      const range = observed('mse', batches, levels);
      const error = squaredError(all, range, levels);
      expect(error).toBeLessThan(squaredError(all, observed('minmax', batches), levels));
      for (const factor of [0.9, 1.1]) {
        expect(error).toBeLessThan(squaredError(all, { ...range, min: range.min * factor }, levels) * 1.01);
        expect(error).toBeLessThan(squaredError(all, { ...range, max: range.max * factor }, levels) * 1.01);
      }
    },
  );

  it('mse keeps the extremes of evenly spread numbers', () => {
    const even = Float32Array.from({ length: 10_000 }, (_, i) => i / 5000 - 1);
    const { min, max } = observed('mse', [even]);
    expect(min).toBeLessThan(-0.98);
    expect(max).toBeGreaterThan(0.98);
  });

  it('entropy cuts off a lone outlier, and keeps evenly spread numbers', () => {
    const { min, max } = observed('entropy', batches);
    expect(max).toBeLessThan(12);
    expect(max).toBeGreaterThan(2);
    expect(min).toBe(rangeOf(all).min);
    const even = Float32Array.from({ length: 100_000 }, (_, i) => i / 50_000 - 1);
    expect(observed('entropy', [even])).toEqual({ min: -1, max: rangeOf(even).max });
  });

  it('entropy is the divergence of the rounded numbers from those seen', () => {
    const bins = { middles: [0, 1, 2, 3], counts: [4, 2, 1, 1], width: 1 };
    const affineOf = ({ max }: { max: number }) => ({ scale: max, zeroPoint: 0 });
    // Two levels. Up to 4, 0 and 1 become one and 2 and 3 the other: p = 4/8 2/8 1/8 1/8, q = 3/8 3/8 1/8 1/8.
    const whole = 0.5 * Math.log(4 / 3) + 0.25 * Math.log(2 / 3);
    // Up to 2, 1 becomes what 2 is: p = 4/8 2/8 2/8, q = 4/7 1.5/7 1.5/7 of the seven that are not cut off.
    const cut = 0.5 * Math.log(7 / 8) + 0.5 * Math.log(7 / 6);
    expect(cut).toBeLessThan(whole);
    expect(leastDivergence(bins, { min: 0, max: 4 }, affineOf, 1)).toEqual({ min: 0, max: 2 });
  });
});
