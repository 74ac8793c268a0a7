import { describe, expect, it } from 'vitest';
import { evalGeometry, roundHalfEven } from './geometry.ts';
import type { Preprocessing } from './preprocessing.ts';

const of = (
  height: number,
  width: number,
  cropPct: number,
  cropMode: Preprocessing['cropMode'],
): Preprocessing => ({
  inputSize: [3, height, width],
  mean: [0, 0, 0],
  std: [1, 1, 1],
  interpolation: 'bicubic',
  cropPct,
  cropMode,
});

// Expected numbers: torchvision's Resize and CenterCrop, timm's ResizeKeepRatio and CenterCropOrPad.
describe('evalGeometry', () => {
  it('center: the short edge to the size, the long one cut to a whole number', () => {
    expect(evalGeometry({ width: 500, height: 375 }, of(224, 224, 0.875, 'center'))).toEqual({
      resize: { width: 341, height: 256 },
      left: 58,
      top: 16,
    });
  });

  it('center: a window larger than the image reaches over its edge', () => {
    expect(evalGeometry({ width: 100, height: 100 }, of(225, 225, 1.15, 'center'))).toEqual({
      resize: { width: 195, height: 195 },
      left: -15,
      top: -15,
    });
  });

  it('center with an uneven input: the edge that needs it more decides', () => {
    expect(evalGeometry({ width: 400, height: 400 }, of(256, 192, 1, 'center'))).toEqual({
      resize: { width: 256, height: 256 },
      left: 32,
      top: 0,
    });
  });

  it('squash: both edges by themselves', () => {
    expect(evalGeometry({ width: 500, height: 100 }, of(224, 224, 0.9, 'squash'))).toEqual({
      resize: { width: 248, height: 248 },
      left: 12,
      top: 12,
    });
  });

  it('border: everything is kept', () => {
    expect(evalGeometry({ width: 500, height: 250 }, of(224, 224, 1, 'border'))).toEqual({
      resize: { width: 224, height: 112 },
      left: 0,
      top: -56,
    });
  });
});

it('rounds halves to even', () => {
  expect([0.5, 1.5, 2.5, -1.5, 2.4, 2.6].map(roundHalfEven)).toEqual([0, 2, 2, -2, 2, 3]);
});
