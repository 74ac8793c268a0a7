import { describe, expect, it } from 'vitest';
import { Random, shuffled } from './random.ts';

const draws = (random: Random, count: number) => Array.from({ length: count }, () => random.next());

describe('Random', () => {
  it('is a function of its keys, all of their bits and their order', () => {
    expect(draws(new Random(1, 2), 8)).toEqual(draws(new Random(1, 2), 8));
    const streams = [[1, 2], [2, 1], [1], [1, 0], [], [1 + 2 ** 32, 2]].map((keys) =>
      draws(new Random(...keys), 2),
    );
    expect(new Set(streams.map(String)).size).toBe(streams.length);
  });

  it('never changes: a resumed run relies on it', () => {
    expect(draws(new Random(42, 7), 4)).toEqual([664335926, 2753437665, 3529818748, 1099195043]);
  });

  it('draws uniformly below a count', () => {
    const random = new Random(3);
    const counts = [0, 0, 0, 0, 0];
    for (let i = 0; i < 5000; i++) counts[random.below(5)]!++;
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(120);
  });

  it('has the moments of a normal distribution', () => {
    const random = new Random(4);
    const values = Array.from({ length: 20_000 }, () => random.normal());
    expect(mean(values)).toBeCloseTo(0, 1);
    expect(mean(values.map((v) => v * v))).toBeCloseTo(1, 1);
  });

  it.each([0.2, 1, 3])('has the moments of Beta(%d, itself)', (alpha) => {
    const random = new Random(5);
    const values = Array.from({ length: 20_000 }, () => random.beta(alpha));
    expect(values.every((v) => v >= 0 && v <= 1)).toBe(true);
    expect(mean(values)).toBeCloseTo(0.5, 1);
    const variance = 1 / (4 * (2 * alpha + 1));
    expect(Math.abs(mean(values.map((v) => (v - 0.5) ** 2)) / variance - 1)).toBeLessThan(0.05);
  });

  it('draws betas for tiny alphas without underflow', () => {
    const random = new Random(6);
    for (let i = 0; i < 1000; i++) expect(random.beta(1e-3)).not.toBeNaN();
  });
});

describe('shuffled', () => {
  it('permutes a copy', () => {
    const values = Uint32Array.from({ length: 100 }, (_, i) => i);
    const order = shuffled(values, new Random(1));
    expect(order).not.toEqual(values);
    expect(order.toSorted()).toEqual(values);
    expect(shuffled(values, new Random(1))).toEqual(order);
  });
});

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
