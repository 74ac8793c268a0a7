import { describe, expect, it } from 'vitest';
import { fillNormal, fillUniform } from './random-fill.ts';

const count = 400_000;

function normals(limit = Number.POSITIVE_INFINITY, std = 1): Float32Array {
  const data = new Float32Array(count);
  fillNormal(data, std, limit, [7]);
  return data;
}

const moment = (data: Float32Array, power: number) =>
  data.reduce((sum, x) => sum + x ** power, 0) / data.length;
const share = (data: Float32Array, test: (x: number) => boolean) =>
  data.reduce((sum, x) => sum + (test(x) ? 1 : 0), 0) / data.length;

describe('fillNormal', () => {
  it('has the moments of the standard normal distribution', () => {
    const data = normals();
    expect(moment(data, 1)).toBeCloseTo(0, 1.9);
    expect(moment(data, 2)).toBeCloseTo(1, 1.9);
    expect(moment(data, 3)).toBeCloseTo(0, 1.5);
    expect(Math.abs(moment(data, 4) - 3)).toBeLessThan(0.06);
  });

  it('has its tails, on both sides', () => {
    const data = normals();
    expect(Math.abs(share(data, (x) => Math.abs(x) < 1) - 0.682689)).toBeLessThan(0.004);
    expect(Math.abs(share(data, (x) => x > 2) - 0.02275)).toBeLessThan(0.0013);
    expect(Math.abs(share(data, (x) => x < -2) - 0.02275)).toBeLessThan(0.0013);
    expect(Math.abs(share(data, (x) => Math.abs(x) > 3.5) - 0.000465)).toBeLessThan(0.00018);
  });

  it('cuts at the limit and scales by the deviation', () => {
    const data = normals(2, 0.1);
    expect(Math.max(...data.subarray(0, 100_000))).toBeLessThanOrEqual(0.2 + 1e-7);
    expect(Math.sqrt(moment(data, 2))).toBeCloseTo(0.08796, 3);
  });
});

describe('fillUniform', () => {
  it('covers its range evenly', () => {
    const data = new Float32Array(count);
    fillUniform(data, 0.5, [3]);
    expect(share(data, (x) => x < -0.25)).toBeCloseTo(0.25, 2);
    expect(Math.abs(moment(data, 2) - 1 / 12)).toBeLessThan(0.001);
    expect(data.every((x) => x >= -0.5 && x <= 0.5)).toBe(true);
  });
});
