import { expect, it } from 'vitest';
import { Tensor } from '../graph/tensor.ts';
import { type ResampleStyle, resampledPositions } from './resample-positions.ts';

/** A table of one channel, 1 + 4 x 4 places. */
const table = Tensor.float32(
  [1, 17, 1],
  [9, ...Array.from({ length: 16 }, (_, i) => (i % 4) + 10 * Math.floor(i / 4))],
);
const grid = (size: readonly [number, number], style: ResampleStyle = 'timm') =>
  resampledPositions('p', table, [1, 1 + size[0] * size[1], 1], { kind: 'grid', size, prefix: 1 }, style)!;

it('keeps the prefix and the mean, and a plane a plane away from the edges', () => {
  const { tensor, from, to } = grid([8, 4]);
  expect([from, to]).toEqual([
    [4, 4],
    [8, 4],
  ]);
  const [prefix, ...places] = tensor.floats;
  expect(prefix).toBe(9);
  expect(places.reduce((sum, x) => sum + x, 0) / places.length).toBeCloseTo(16.5, 4);
  const rows = Array.from({ length: 8 }, (_, row) => places[4 * row]!);
  expect(rows[4]! - rows[3]!).toBeCloseTo(5, 4);
});

it('smooths what it shrinks as timm does, and not as transformers does', () => {
  const [smooth, sharp] = (['timm', 'transformers'] as const).map((style) => [
    ...grid([2, 2], style).tensor.floats,
  ]);
  expect(smooth![0]).toBe(9);
  expect(smooth![1]).not.toBeCloseTo(sharp![1]!, 2);
  // PyTorch 2.13: F.interpolate(plane, size=(2, 2), mode='bicubic', antialias=True), and without.
  const near = (found: readonly number[], expected: readonly number[]) =>
    found.slice(1).forEach((x, i) => {
      expect(x).toBeCloseTo(expected[i]!, 3);
    });
  near(smooth!, [6.4545, 8.281, 24.719, 26.5455]);
  near(sharp!, [4.4688, 6.6562, 26.3438, 28.5312]);
});

it('has offsets of a larger window reach as far as those of the smaller', () => {
  const values = Array.from({ length: 25 }, (_, i) => i);
  const offsets = Tensor.float32([25, 1], values);
  const { tensor, from, to } = resampledPositions(
    'b',
    offsets,
    [81, 1],
    { kind: 'offsets', window: [5, 5] },
    'timm',
  )!;
  expect([from, to]).toEqual([
    [5, 5],
    [9, 9],
  ]);
  const found = tensor.floats;
  expect([found[0]!, found[40]!, found[80]!].map((x) => Math.round(100 * x) / 100)).toEqual([0, 12, 24]);
});

it('knows when no size explains a shape', () => {
  const positions = { kind: 'grid', size: [2, 2], prefix: 1 } as const;
  expect(
    resampledPositions('p', Tensor.zeros('float32', [1, 18, 1]), [1, 5, 1], positions, 'timm'),
  ).toBeUndefined();
  expect(
    resampledPositions('p', Tensor.zeros('float32', [1, 17, 2]), [1, 5, 1], positions, 'timm'),
  ).toBeUndefined();
});
