import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Random } from '../../common/random.ts';
import type { RawImage } from '../dataset.ts';
import { jittered } from './jitter.ts';
import { changes, randAugmented, randAugmentOf } from './rand-augment.ts';

interface Cases {
  width: number;
  height: number;
  fill: number[];
  data: number[];
  cases: { name: string; amount: number; data: number[] }[];
  levels: Record<string, { level: number; values: number[] }[]>;
}

/** What timm and Pillow make of the image: written by scripts/rand-augment-cases.py. */
const judged = JSON.parse(readFileSync(new URL('timm-cases.json', import.meta.url), 'utf8')) as Cases;
const image: RawImage = {
  width: judged.width,
  height: judged.height,
  channels: 3,
  data: Uint8Array.from(judged.data),
};

describe('the changes of RandAugment', () => {
  it.each(judged.cases)('are those of timm: $name by $amount', ({ name, amount, data }) => {
    const found = changes.usual[name]!.apply(image, amount, judged.fill);
    const worst = Math.max(...data.map((tone, i) => Math.abs(tone - found.data[i]!)));
    expect(worst).toBeLessThanOrEqual(1);
    const off = data.filter((tone, i) => tone !== found.data[i]).length;
    expect(off / data.length).toBeLessThanOrEqual(0.02);
  });

  it.each(Object.entries({ ...changes.usual, ...changes.increasing }))(
    'mean by a level what timm means: %s',
    (name, { amount }) => {
      for (const { level, values } of judged.levels[name] ?? []) {
        const found = [...new Set([amount(level, 1), amount(level, -1)])].sort((a, b) => a - b);
        found.forEach((value, i) => {
          expect(value).toBeCloseTo(values[i]!, 9);
        });
        expect(found).toHaveLength(values.length);
      }
    },
  );

  it('leave the image that they are given as it is, and work on one channel too', () => {
    const before = [...image.data];
    const grey: RawImage = {
      width: 3,
      height: 2,
      channels: 1,
      data: Uint8Array.of(0, 50, 100, 150, 200, 250),
    };
    for (const { amount, apply } of Object.values(changes.increasing)) {
      apply(image, amount(5, 1), judged.fill);
      expect(apply(grey, amount(5, 1), [7]).data).toHaveLength(6);
    }
    expect([...image.data]).toEqual(before);
  });
});

describe('RandAugment', () => {
  it('is written as timm writes it', () => {
    expect(randAugmentOf('rand-m9-mstd0.5-inc1')).toEqual({
      magnitude: 9,
      deviation: 0.5,
      layers: 2,
      probability: 0.5,
      set: 'increasing',
    });
    expect(randAugmentOf('rand')).toMatchObject({ magnitude: 10, set: 'usual' });
    for (const text of ['augmix-m3', 'rand-m11', 'rand-x3', 'rand-m', 'rand-n1.5', 'rand-constructor1']) {
      expect(() => randAugmentOf(text)).toThrow('it is like rand-m9-mstd0.5-inc1');
    }
  });

  it('is the same for the same seed, another for another, and nothing at probability 0', () => {
    const config = randAugmentOf('rand-m9-mstd0.5-inc1-p1');
    const made = (seed: number) => [...randAugmented(image, config, judged.fill, new Random(seed)).data];
    expect(made(1)).toEqual(made(1));
    expect(new Set(Array.from({ length: 20 }, (_, seed) => `${made(seed)}`)).size).toBeGreaterThan(15);
    expect(randAugmented(image, { ...config, probability: 0 }, judged.fill, new Random(1))).toBe(image);
  });
});

it('jitter changes tones by no more than its share', () => {
  expect([...jittered(image, 0, new Random(1)).data]).toEqual([...image.data]);
  const made = jittered(image, 0.4, new Random(1));
  expect([...made.data]).not.toEqual([...image.data]);
});
