import { describe, expect, it } from 'vitest';
import { groupReductions } from './group-reduction.ts';
import { normalizers } from './normalizer.ts';

const scores = (...values: number[]) => Float64Array.from(values);
const near = (found: Float64Array, expected: readonly number[]) => {
  expect(found).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 6);
};

describe('a group reduction', () => {
  const slices = [
    [1, 2, 4],
    [3, undefined, 2],
  ];

  it.each([
    ['mean', [2, 1, 3]],
    ['sum', [4, 2, 6]],
    ['max', [3, 2, 4]],
    ['prod', [3 / 8, 2 / 8, 1]],
    ['first', [1, 2, 4]],
  ] as const)('%s, of slices of which one has no part of a unit', (name, expected) => {
    near(groupReductions[name](slices, 3), expected);
  });

  it('prod stands products too small for a number', () => {
    const many = Array.from({ length: 60 }, () => [1e-10, 2e-10]);
    near(groupReductions.prod(many, 2), [2 ** -60, 1]);
  });

  it('of no slices is 0', () => {
    for (const name of ['mean', 'sum', 'max', 'first'] as const) near(groupReductions[name]([], 2), [0, 0]);
  });
});

describe('a normalizer', () => {
  it.each([
    ['none', [1, 2, 5, 4]],
    ['mean', [1 / 3, 2 / 3, 5 / 3, 4 / 3]],
    ['sum', [1 / 12, 2 / 12, 5 / 12, 4 / 12]],
    ['max', [0.2, 0.4, 1, 0.8]],
    // The deviation of a sample, as torch.std: the root of (4 + 1 + 4 + 1) / 3.
    ['gaussian', [-2, -1, 2, 1].map((by) => by / Math.sqrt(10 / 3))],
    ['standarization', [0, 0.25, 1, 0.75]],
    ['lamp', [1 / 12, 2 / 11, 1, 4 / 9]],
  ] as const)('%s', (name, expected) => {
    near(normalizers[name](scores(1, 2, 5, 4)), expected);
  });

  it('of equal or vanishing scores is no division by zero', () => {
    for (const normalize of Object.values(normalizers)) {
      for (const same of [scores(0, 0), scores(3, 3)]) {
        for (const value of normalize(same)) expect(Number.isFinite(value)).toBe(true);
      }
    }
  });
});
