import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import type { Augmentation } from './augmentation.ts';
import type { RawImage } from './dataset.ts';
import { decodeFile } from './decode.node.ts';
import { evalPreparation, trainPreparation } from './prepare.ts';
import { fromTimmConfig, type Preprocessing, type TimmInputConfig } from './preprocessing.ts';
import { createResampler } from './resample.ts';

// Images and Pillow's results, written by `conformance/check_preprocess.py --out src/dataset/golden --small`.
const golden = join(import.meta.dirname, 'golden');
interface Case {
  image: string;
  config: TimmInputConfig;
  expected: string;
  samples: [place: number, value: number][];
}
const cases = JSON.parse(readFileSync(join(golden, 'cases.json'), 'utf8')) as Case[];

const resampler = createResampler(onnxruntime);
afterAll(() => resampler.dispose());

const plain: Preprocessing = {
  inputSize: [1, 2, 3],
  mean: [0],
  std: [1 / 255],
  interpolation: 'bicubic',
  cropPct: 1,
  cropMode: 'squash',
};
const unused = createResampler({
  name: 'none',
  load: () => Promise.reject(new Error('no resize is needed')),
});
const grey = (width: number, height: number, values: number[]): RawImage => ({
  width,
  height,
  channels: 1,
  data: Uint8Array.from(values),
});

describe('agreement with timm on Pillow', () => {
  it.each(cases)('$expected', async ({ image, config, expected, samples }) => {
    const preprocessing = fromTimmConfig(config, image);
    const [channels, height, width] = preprocessing.inputSize;
    const area = height * width;
    const ours = new Float32Array(channels * area);
    await evalPreparation(preprocessing, resampler)(await decodeFile(join(golden, image)), ours);
    const space = channels === 1 ? 'b-w' : 'srgb';
    const theirs = await sharp(join(golden, expected)).toColourspace(space).raw().toBuffer();
    expect(theirs.length).toBe(ours.length);

    const apart = (i: number): number => {
      const c = Math.floor(i / area);
      const level = (ours[i]! * preprocessing.std[c]! + preprocessing.mean[c]!) * 255;
      return Math.abs(level - theirs[(i % area) * channels + c]!);
    };
    const beyond = ours.filter((_, i) => apart(i) > 2.01).length;
    expect(beyond / ours.length).toBeLessThanOrEqual(0.01);
    for (const [place, value] of samples) if (apart(place) < 0.5) expect(ours[place]).toBeCloseTo(value, 6);
  });
});

describe('evaluation transform', () => {
  it('does not resize what has the right size, and repeats grey over three channels', async () => {
    const out = new Float32Array(18);
    const image = grey(3, 2, [0, 51, 102, 153, 204, 255]);
    const rgb: Preprocessing = { ...plain, inputSize: [3, 2, 3], mean: [0, 0.5, 0], std: [1, 1, 0.5] };
    await evalPreparation(rgb, unused)(image, out);
    const values = [0, 0.2, 0.4, 0.6, 0.8, 1];
    const expected = [...values, ...values.map((v) => v - 0.5), ...values.map((v) => v * 2)];
    expected.forEach((value, i) => {
      expect(out[i]).toBeCloseTo(value, 6);
    });
  });

  it('makes one channel of a colour image with the weights of ITU-R 601', async () => {
    const out = new Float32Array(6);
    const data = Uint8Array.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 10, 20, 30]);
    await evalPreparation(plain, unused)({ width: 3, height: 2, channels: 3, data }, out);
    expect(Array.from(out, Math.round)).toEqual([76, 150, 29, 255, 0, 18]);
  });
});

describe('training transform', () => {
  const prepare = async (options: Parameters<typeof trainPreparation>[1], key: number) => {
    const out = new Float32Array(6);
    const image = grey(3, 2, [1, 2, 3, 4, 5, 6]);
    await trainPreparation(plain, options, resampler)(new Random(key)).write(image, out);
    return Array.from(out, Math.round);
  };

  it('flips left and right', async () => {
    expect(await prepare({ flip: 1 }, 0)).toEqual([3, 2, 1, 6, 5, 4]);
    expect(await prepare({ flip: 0 }, 0)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('shifts by at most so many pixels, black coming in at the edge', async () => {
    const results = new Set<string>();
    for (let key = 0; key < 200; key++)
      results.add((await prepare({ crop: { kind: 'shift', pixels: 1 } }, key)).join());
    expect(results.size).toBe(9);
    expect(results).toContain('0,0,0,0,1,2');
    expect(results).toContain('5,6,0,0,0,0');
  });

  it('crops at random, the same for the same key', async () => {
    const crop = { kind: 'resized', scale: [0.3, 1] } as const;
    expect(await prepare({ crop }, 5)).toEqual(await prepare({ crop }, 5));
    const results = await Promise.all(Array.from({ length: 20 }, (_, key) => prepare({ crop }, key)));
    expect(new Set(results.map(String)).size).toBeGreaterThan(5);
  });
});

describe('changes of the cut image', () => {
  const image: RawImage = {
    width: 9,
    height: 7,
    channels: 3,
    data: Uint8Array.from({ length: 9 * 7 * 3 }, (_, i) => (i * 37) % 251),
  };
  const photo = fromTimmConfig({ input_size: [3, 8, 8], crop_mode: 'border', crop_pct: 0.8 }, 'x');
  const made = async (augmentation: Augmentation) => {
    const out = new Float32Array(3 * 8 * 8);
    await trainPreparation(photo, augmentation, resampler)(new Random(4)).write(image, out);
    return [...out];
  };

  it.each([{ crop: { kind: 'shift', pixels: 3 } }, { crop: { kind: 'resized' } }, {}] as const)(
    'that do nothing leave crop, flip and frame as they are: %j',
    async (crop) => {
      const wanted = await made({ ...crop, flip: 1 });
      expect(await made({ ...crop, flip: 1, randAugment: 'rand-n0' })).toEqual(wanted);
      expect(await made({ ...crop, flip: 1, randAugment: 'rand-m9-p1' })).not.toEqual(wanted);
      expect(await made({ ...crop, flip: 1, jitter: 0.4 })).not.toEqual(wanted);
    },
  );

  it('come before erasing, by noise, a colour or the mean', async () => {
    const plainOut = await made({});
    for (const eraseMode of ['pixel', 'rand', 'const'] as const) {
      const erased = await made({ erase: 1, eraseMode });
      const values = new Set(erased.filter((value, i) => value !== plainOut[i]));
      expect(values.size > 3).toBe(eraseMode === 'pixel');
      if (eraseMode === 'const') expect([...values]).toEqual([0]);
    }
  });
});

describe('timm configurations', () => {
  it('fills in what timm does', () => {
    expect(fromTimmConfig({}, 'config.json')).toEqual({
      inputSize: [3, 224, 224],
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
      interpolation: 'bicubic',
      cropPct: 0.875,
      cropMode: 'center',
    });
    expect(fromTimmConfig({ mean: [0.5], std: [0.5] }, 'x').mean).toEqual([0.5, 0.5, 0.5]);
  });

  it.each([
    [{ interpolation: 'lanczos' }, 'interpolation "lanczos" is not supported; use bicubic or bilinear'],
    [{ interpolation: 'nearest' }, 'interpolation "nearest"'],
    [{ crop_mode: 'middle' }, 'crop_mode "middle" is not supported; use center or squash or border'],
    [{ input_size: [4, 32, 32] }, 'input_size is [4,32,32]'],
    [{ input_size: [1, 28, 28], mean: [0.4, 0.4, 0.4] }, 'the input has 1 channel'],
    [{ std: [0, 1, 1] }, 'std is [0,1,1]'],
    [{ crop_pct: -1 }, 'crop_pct is -1'],
  ])('refuses %j', (config, message) => {
    expect(() => fromTimmConfig(config, 'folder/config.json')).toThrow(
      `folder/config.json: ${message}`.slice(0, 20),
    );
    expect(() => fromTimmConfig(config, 'folder/config.json')).toThrow(message);
  });
});
