import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { silent } from '../common/progress.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import type { Augmentation } from './augmentation.ts';
import { openImageFolder } from './image-folder.node.ts';
import { batches } from './loader.ts';
import type { Preprocessing } from './preprocessing.ts';

const folder = mkdtempSync(join(tmpdir(), 'image-pool-'));
afterAll(() => rmSync(folder, { recursive: true }));

const augment: Augmentation = {
  crop: { kind: 'resized' },
  flip: 0.5,
  randAugment: 'rand-m9-mstd0.5',
  erase: 0.5,
};
const preprocessing: Preprocessing = {
  ...{ inputSize: [3, 24, 24], mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  ...{ interpolation: 'bicubic', cropPct: 1, cropMode: 'center' },
};

beforeAll(async () => {
  for (let i = 0; i < 12; i++) {
    const place = join(folder, 'train', `class${i % 2}`);
    mkdirSync(place, { recursive: true });
    mkdirSync(join(folder, 'val', `class${i % 2}`), { recursive: true });
    const [width, height] = [40 + i, 64 - i];
    const data = Buffer.from(
      Array.from({ length: width * height * 3 }, (_, at) => 128 + 90 * Math.sin(at * (i + 1))),
    );
    const image = await sharp(data, { raw: { width, height, channels: 3 } })
      .jpeg()
      .toBuffer();
    writeFileSync(join(place, `${i}.jpg`), image);
    writeFileSync(join(folder, 'val', `class${i % 2}`, `${i}.jpg`), image);
  }
});

/** Commands hand on all that they were told, functions among it. */
const asCommandsDo = { maxPixels: 1e6, progress: silent };

async function pass(threads: number): Promise<{ pixels: number[][]; unreadable: readonly string[] }> {
  const { train } = await openImageFolder(folder, asCommandsDo);
  const pool = threads > 0 ? train.pool!(threads, { preprocessing, augment }) : undefined;
  try {
    const options = { engine: onnxruntime, batchSize: 5, augment, pool, shuffle: { seed: 3, epoch: 1 } };
    const given = batches(train, preprocessing, options);
    const pixels: number[][] = [];
    for await (const batch of given) pixels.push([...batch.pixels.floats]);
    return { pixels, unreadable: given.unreadable };
  } finally {
    await pool?.close();
  }
}

it('gives the same bits whatever the number of threads', async () => {
  const alone = await pass(0);
  expect(alone.pixels.map(({ length }) => length / (3 * 24 * 24))).toEqual([5, 5, 2]);
  expect(await pass(1)).toEqual(alone);
  expect(await pass(3)).toEqual(alone);
});

it('names an image that can not be read, and ends when there are too many', async () => {
  writeFileSync(join(folder, 'train/class0/0.jpg'), 'no image');
  await expect(pass(2)).rejects.toThrow(
    /1 of 12 images can't be read, more than 1 %; the last is train\/class0\/0.jpg/,
  );
});

it('rejects what was not prepared when it is closed', async () => {
  const { val } = await openImageFolder(folder);
  const pool = val.pool!(1, { preprocessing, augment });
  const preparing = pool.prepare(0, [1]);
  preparing.catch(() => {});
  await pool.close();
  await expect(preparing).rejects.toThrow('a thread that prepares images ended');
});
