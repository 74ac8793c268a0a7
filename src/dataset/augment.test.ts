import { expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { checkAugmentation, eraseRectangle, randomBox } from './augment.ts';

it('random boxes lie inside and have the area and aspect asked for', () => {
  const image = { width: 120, height: 90 };
  for (let key = 0; key < 200; key++) {
    const box = randomBox(image, { scale: [0.2, 0.5], ratio: [0.75, 1.5] }, new Random(key));
    expect(box.left).toBeGreaterThanOrEqual(0);
    expect(box.top).toBeGreaterThanOrEqual(0);
    expect(box.left + box.width).toBeLessThanOrEqual(120);
    expect(box.top + box.height).toBeLessThanOrEqual(90);
    const share = (box.width * box.height) / (120 * 90);
    expect(share).toBeGreaterThan(0.19);
    expect(share).toBeLessThan(0.51);
    expect(box.width / box.height).toBeGreaterThan(0.73);
    expect(box.width / box.height).toBeLessThan(1.54);
  }
});

it('falls back to the centre of an image no box fits in', () => {
  const box = randomBox({ width: 1000, height: 10 }, { scale: [1, 1] }, new Random(1));
  expect(box).toEqual({ left: 493, top: 0, width: 13, height: 10 });
});

it('erases one rectangle of 2 % to a third, the same in every channel', () => {
  for (let key = 0; key < 50; key++) {
    const pixels = new Float32Array(2 * 30 * 40);
    eraseRectangle(pixels, [3, 20, 40], new Random(key));
    const first = pixels.subarray(0, 800);
    const erased = [...first.keys()].filter((i) => first[i] !== 0);
    const rows = erased.map((i) => Math.floor(i / 40));
    const columns = erased.map((i) => i % 40);
    const height = Math.max(...rows) - Math.min(...rows) + 1;
    const width = Math.max(...columns) - Math.min(...columns) + 1;
    expect(erased.length).toBe(height * width);
    expect(erased.length / 800).toBeGreaterThan(0.01);
    expect(erased.length / 800).toBeLessThan(0.37);
    for (const i of erased) expect(pixels[800 + i]).not.toBe(0);
  }
});

it.each([
  [{ flip: 2 }, 'flip is 2'],
  [{ erase: -0.1 }, 'erase is -0.1'],
  [{ crop: { kind: 'shift', pixels: 1.5 } } as const, 'shift by 1.5'],
  [{ crop: { kind: 'resized', scale: [0.5, 0.1] } } as const, 'scale [0.5,0.1]'],
])('refuses %j', (augmentation, message) => {
  expect(() => checkAugmentation(augmentation)).toThrow(message);
});
