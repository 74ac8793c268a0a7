import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { checkMixing, mixBatch } from './mix.ts';

const shape = [3, 1, 8, 8] as const;
/** Image i is all i + 1. */
const batch = () => Float32Array.from({ length: 3 * 64 }, (_, i) => Math.floor(i / 64) + 1);
const labels = [0, 1, 2];

describe('mixBatch', () => {
  it('smooths labels as timm: 1 - s + s / classes, and s / classes', () => {
    const pixels = batch();
    const targets = mixBatch(pixels, shape, [1, 0, 3], { classes: 4, labelSmoothing: 0.2 }, new Random(1));
    expect(targets.shape).toEqual([3, 4]);
    const expected = [0.05, 0.85, 0.05, 0.05, 0.85, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.85];
    targets.floats.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 6);
    });
    expect(pixels).toEqual(batch());
  });

  it('mixup: pixels and targets in the same shares', () => {
    const pixels = batch();
    const targets = mixBatch(pixels, shape, labels, { classes: 3, mixup: 1 }, new Random(2)).floats;
    const share = targets[0]!;
    expect(share).toBeGreaterThan(0);
    expect(share).toBeLessThan(1);
    expect(targets[2]).toBeCloseTo(1 - share, 6);
    expect(Array.from(targets.slice(3, 6))).toEqual([0, 1, 0]);
    expect(pixels[0]).toBeCloseTo(1 * share + 3 * (1 - share), 5);
    expect(pixels[64]).toBe(2);
    expect(pixels[128]).toBeCloseTo(3 * share + 1 * (1 - share), 5);
  });

  it('prob: so many batches are mixed, the others left as they are', () => {
    let mixed = 0;
    for (let key = 0; key < 200; key++) {
      const pixels = batch();
      mixBatch(pixels, shape, labels, { classes: 3, mixup: 1, prob: 0.3 }, new Random(key));
      if (pixels[0] !== 1) mixed++;
    }
    expect(mixed).toBeGreaterThan(40);
    expect(mixed).toBeLessThan(80);
  });

  it('cutmix: the target says how much of the image was kept', () => {
    for (let key = 0; key < 20; key++) {
      const pixels = batch();
      const targets = mixBatch(pixels, shape, labels, { classes: 3, cutmix: 1 }, new Random(key)).floats;
      const kept = pixels.subarray(0, 64).filter((value) => value === 1).length / 64;
      const others = pixels.subarray(128).filter((value) => value === 3).length / 64;
      expect(targets[0]).toBeCloseTo(kept, 6);
      expect(others).toBe(kept);
      expect(targets[2]).toBeCloseTo(1 - kept, 6);
    }
  });

  it('uses both when both are on', () => {
    const kinds = new Set<boolean>();
    for (let key = 0; key < 20; key++) {
      const pixels = batch();
      mixBatch(pixels, shape, labels, { classes: 3, mixup: 1, cutmix: 1 }, new Random(key));
      kinds.add(pixels.every(Number.isInteger));
    }
    expect(kinds.size).toBe(2);
  });
});

it.each([
  [{ classes: 10, mixup: -1 }, 'mixup alpha is -1'],
  [{ classes: 10, labelSmoothing: 1 }, 'label smoothing is 1'],
  [{ classes: 0 }, '0 classes'],
])('refuses %j', (mixing, message) => {
  expect(() => checkMixing(mixing)).toThrow(message);
});
