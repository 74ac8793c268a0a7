import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import type { Batch, Split } from './dataset.ts';
import { batches, type LoaderOptions } from './loader.ts';
import type { Preprocessing } from './preprocessing.ts';

const preprocessing: Preprocessing = {
  inputSize: [1, 2, 2],
  mean: [0],
  std: [1 / 255],
  interpolation: 'bicubic',
  cropPct: 1,
  cropMode: 'squash',
};

/** Image i is four pixels of i; those in `bad` can't be read. Later images are ready sooner. */
function numbers(length: number, bad: readonly number[] = []) {
  const state = { reads: 0, open: 0, most: 0 };
  const split: Split = {
    name: 'numbers',
    length,
    label: (index) => index % 10,
    id: (index) => `image-${index}`,
    async read(index) {
      state.reads++;
      state.most = Math.max(state.most, ++state.open);
      for (let turn = 0; turn < (length - index) % 7; turn++) await Promise.resolve();
      state.open--;
      if (bad.includes(index)) throw new Error('truncated');
      return { width: 2, height: 2, channels: 1, data: new Uint8Array(4).fill(index) };
    },
  };
  return { split, state };
}

async function all(split: Split, options: Partial<LoaderOptions>): Promise<Batch[]> {
  const result: Batch[] = [];
  for await (const batch of batches(split, preprocessing, {
    engine: onnxruntime,
    batchSize: 4,
    ...options,
  })) {
    result.push(batch);
  }
  return result;
}

const ids = (result: readonly Batch[]) => result.map((batch) => batch.ids.map((id) => Number(id.slice(6))));
const contents = (result: readonly Batch[]) =>
  result.map(({ pixels, labels, targets, ids: names }) => [
    pixels.floats,
    labels.data,
    targets?.floats,
    names,
  ]);

function notes(): Progress & { lines: string[] } {
  const lines: string[] = [];
  return { lines, note: (text) => lines.push(text), task: () => ({ update() {}, done() {} }) };
}

describe('batches', () => {
  it('gives pixels, labels and ids in the order of the split', async () => {
    const result = await all(numbers(10).split, {});
    expect(ids(result)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
    const last = result[2]!;
    expect(last.pixels.shape).toEqual([2, 1, 2, 2]);
    expect(Array.from(last.pixels.floats, Math.round)).toEqual([8, 8, 8, 8, 9, 9, 9, 9]);
    expect(last.labels.dtype).toBe('int64');
    expect(last.labels.integers).toEqual([8, 9]);
  });

  it('says how much is to come', () => {
    const { split } = numbers(10);
    const count = (options: Partial<LoaderOptions>) => {
      const { length, images } = batches(split, preprocessing, {
        engine: onnxruntime,
        batchSize: 4,
        ...options,
      });
      return [length, images];
    };
    expect(count({})).toEqual([3, 10]);
    expect(count({ dropLast: true })).toEqual([2, 8]);
    expect(count({ skipBatches: 1 })).toEqual([2, 6]);
    expect(count({ skipBatches: 5 })).toEqual([0, 0]);
    expect(count({ limit: 3 })).toEqual([1, 3]);
  });

  it('shuffles by seed and epoch, each image once', async () => {
    const { split } = numbers(50);
    const order = async (seed: number, epoch: number) =>
      ids(await all(split, { shuffle: { seed, epoch } })).flat();
    expect(await order(1, 1)).toEqual(await order(1, 1));
    expect(await order(1, 1)).not.toEqual(await order(1, 2));
    expect(await order(1, 1)).not.toEqual(await order(2, 1));
    expect((await order(1, 1)).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  it('does not depend on concurrency, and resumes at any batch without reading what came before', async () => {
    const options: Partial<LoaderOptions> = {
      shuffle: { seed: 3, epoch: 5 },
      augment: { crop: { kind: 'shift', pixels: 1 }, flip: 0.5, erase: 0.5 },
      mixing: { classes: 10, mixup: 0.4, cutmix: 1, labelSmoothing: 0.1 },
    };
    const whole = contents(await all(numbers(22).split, options));
    expect(contents(await all(numbers(22).split, { ...options, concurrency: 1, prefetch: 0 }))).toEqual(
      whole,
    );
    expect(contents(await all(numbers(22).split, { ...options, concurrency: 16 }))).toEqual(whole);
    const { split, state } = numbers(22);
    expect(contents(await all(split, { ...options, skipBatches: 4 }))).toEqual(whole.slice(4));
    expect(state.reads).toBe(6);
  });

  it.each(
    JSON.parse(readFileSync(new URL('golden/repeat-augment.json', import.meta.url), 'utf8')) as {
      images: number;
      repeats: number;
      order: number[];
    }[],
  )('repeats $images images $repeats times in the order of timm', async ({ images, repeats, order }) => {
    const { split } = numbers(images);
    expect(ids(await all(split, { repeats })).flat()).toEqual(order);
    const shuffle = { seed: 1, epoch: 0 };
    const once = ids(await all(split, { shuffle })).flat();
    expect(ids(await all(split, { shuffle, repeats })).flat()).toEqual(order.map((i) => once[i]));
  });

  it('changes a repeated image anew, and names one that cannot be read once', async () => {
    const { split } = numbers(40);
    const [batch] = await all(split, { repeats: 4, shuffle: { seed: 3, epoch: 0 }, augment: { jitter: 1 } });
    expect(new Set(batch!.ids).size).toBe(1);
    const seen = [0, 1, 2, 3].map((i) => batch!.pixels.floats[4 * i]);
    expect(new Set(seen).size).toBe(4);
    const bad = numbers(100, [0]);
    const progress = notes();
    const given = await all(bad.split, { repeats: 2, progress });
    expect(ids(given).flat()).toHaveLength(98);
    expect(progress.lines.filter((line) => line.startsWith('skipped image-0'))).toHaveLength(1);
  });

  it('limits to evenly spread images, or the first shuffled ones', async () => {
    const { split } = numbers(100);
    expect(ids(await all(split, { limit: 4 }))).toEqual([[0, 25, 50, 75]]);
    const shuffle = { seed: 1, epoch: 0 };
    const some = ids(await all(split, { limit: 4, shuffle }));
    expect(some).toEqual(ids(await all(split, { shuffle })).slice(0, 1));
  });

  it('takes given images, repeats too', async () => {
    expect(ids(await all(numbers(10).split, { indices: [7, 7, 1] }))).toEqual([[7, 7, 1]]);
    await expect(all(numbers(10).split, { indices: [3, 10] })).rejects.toThrow(
      'numbers has no image 10 of 10',
    );
  });

  it('augments a repeated image differently each time', async () => {
    const augment = { crop: { kind: 'shift', pixels: 2 } } as const;
    const [batch] = await all(numbers(10).split, { indices: Array(20).fill(9), batchSize: 20, augment });
    const images = Array.from({ length: 20 }, (_, i) => batch!.pixels.floats.slice(4 * i, 4 * i + 4).join());
    expect(new Set(images).size).toBeGreaterThan(3);
  });

  it('reads ahead, but no further than told, and stops when the consumer does', async () => {
    const { split, state } = numbers(100);
    const loader = batches(split, preprocessing, {
      engine: onnxruntime,
      batchSize: 4,
      prefetch: 2,
      concurrency: 3,
    });
    for await (const _ of loader) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(state.reads).toBe(12);
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(state.reads).toBe(12);
    expect(state.most).toBeLessThanOrEqual(3);
  });

  it.each([
    [{ batchSize: 0 }, 'batchSize is 0; give a whole number from 1'],
    [{ limit: 0 }, 'limit is 0'],
    [{ concurrency: 1.5 }, 'concurrency is 1.5'],
    [{ skipBatches: -1 }, 'skipBatches is -1; give a whole number from 0'],
    [{ mixing: { classes: 10, mixup: -1 } }, 'mixup alpha is -1'],
    [{ augment: { flip: 3 } }, 'flip is 3'],
  ])('refuses %j', async (options, message) => {
    await expect(all(numbers(10).split, options)).rejects.toThrow(UserError);
    await expect(all(numbers(10).split, options)).rejects.toThrow(message);
  });

  it('refuses an empty split', async () => {
    await expect(all(numbers(0).split, {})).rejects.toThrow('numbers has no images');
  });
});

describe('unreadable images', () => {
  it('are named, counted and left out; their neighbours keep their batches', async () => {
    const progress = notes();
    const { split } = numbers(200, [5]);
    const loader = batches(split, preprocessing, { engine: onnxruntime, batchSize: 4, progress });
    const result: Batch[] = [];
    for await (const batch of loader) result.push(batch);
    expect(ids(result).slice(0, 3)).toEqual([
      [0, 1, 2, 3],
      [4, 6, 7],
      [8, 9, 10, 11],
    ]);
    expect(Array.from(result[1]!.pixels.floats, Math.round)).toEqual([4, 4, 4, 4, 6, 6, 6, 6, 7, 7, 7, 7]);
    expect(result[1]!.labels.integers).toEqual([4, 6, 7]);
    expect(loader.unreadable).toEqual(['image-5']);
    expect(progress.lines).toEqual([
      "skipped image-5: can't be read (truncated)",
      "numbers: skipped 1 of 200 images that can't be read",
    ]);
  });

  it('may be 1 % of the split, not more', async () => {
    expect(await all(numbers(200, [5, 77]).split, {})).toHaveLength(50);
    await expect(all(numbers(200, [5, 77, 78]).split, {})).rejects.toThrow(
      "numbers: 3 of 200 images can't be read, more than 1 %; the last is image-78",
    );
    await expect(all(numbers(50, [5]).split, {})).rejects.toThrow('1 of 50');
  });

  it('end the pass as soon as they are too many', async () => {
    const { split, state } = numbers(
      1000,
      Array.from({ length: 11 }, (_, i) => i),
    );
    await expect(all(split, {})).rejects.toThrow('of 1000');
    expect(state.reads).toBeLessThan(40);
  });

  it('leave out a batch of nothing else, but not all that was asked for', async () => {
    const { split } = numbers(1000, [4, 5, 6, 7]);
    expect(ids(await all(split, { indices: [1, 2, 3, 8, 4, 5, 6, 7, 9] }))).toEqual([[1, 2, 3, 8], [9]]);
    await expect(all(split, { indices: [4, 5] })).rejects.toThrow('none of the 2 images');
  });
});
