import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import type { Split } from './dataset.ts';
import { openDataset } from './open.node.ts';

let root: string;
let png: Buffer;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'dataset-'));
  png = await sharp({ create: { width: 3, height: 2, channels: 3, background: '#102030' } })
    .png()
    .toBuffer();
});
afterAll(() => rmSync(root, { recursive: true }));

/** A new folder with these image files. */
function folder(name: string, files: readonly string[]): string {
  const path = join(root, name);
  mkdirSync(path);
  for (const file of files) {
    mkdirSync(dirname(join(path, file)), { recursive: true });
    writeFileSync(join(path, file), png);
  }
  return path;
}

const listing = (split: Split) =>
  Array.from({ length: split.length }, (_, i) => [split.id(i), split.label(i)]);

describe('image folders', () => {
  it('sorts classes as timm does: without case, numbers by their size', async () => {
    const names = ['10', '9', '0', 'b2', 'B10', 'a', 'B'];
    const data = await openDataset(
      folder(
        'natural',
        names.map((name) => `${name}/1.png`),
      ),
    );
    expect(data.classes).toEqual(['0', '9', '10', 'a', 'B', 'b2', 'B10']);
  });

  it('says what is held out and what is left out', async () => {
    const images = Array.from({ length: 5 }, (_, i) => `a/${i}.png`);
    const data = await openDataset(
      folder('notes', [...images, 'a/x.heic', 'a/y.gif', 'a/z.BMP', 'a/readme.txt']),
    );
    expect(data.notes).toEqual([
      expect.stringMatching(/no validation split, so 1 of its 5 images are held out of training/),
      expect.stringMatching(
        /3 files of formats that are not read are left out: a\/x.heic, a\/y.gif, a\/z.BMP$/,
      ),
    ]);
    const split = await openDataset(folder('split', ['train/a/1.png', 'val/a/2.png']));
    expect(split.notes).toEqual([]);
    expect(await split.train.source!(0)).toEqual({ path: join(root, 'split/train/a/1.png') });
  });

  it('sorts classes by name and images by name, subfolders after', async () => {
    const path = folder('layout', [
      'train/b/2.png',
      'train/b/10.PNG',
      'train/b/deep/1.png',
      'train/B/x.png',
      'train/é/x.png',
      'train/b/notes.txt',
      'train/.hidden/x.png',
      'val/b/v.png',
    ]);
    const data = await openDataset(path);
    expect(data.name).toBe('layout');
    expect(data.classes).toEqual(['B', 'b', 'é']);
    expect(listing(data.train)).toEqual([
      ['train/B/x.png', 0],
      ['train/b/10.PNG', 1],
      ['train/b/2.png', 1],
      ['train/b/deep/1.png', 1],
      ['train/é/x.png', 2],
    ]);
    expect(listing(data.val)).toEqual([['val/b/v.png', 1]]);
    const image = await data.val.read(0);
    expect([image.width, image.height, image.channels, ...image.data.slice(0, 3)]).toEqual([
      3, 2, 3, 16, 32, 48,
    ]);
  });

  it.each(['validation', 'test'])('takes %s for val', async (name) => {
    const data = await openDataset(folder(`with-${name}`, ['train/a/1.png', `${name}/a/2.png`]));
    expect(listing(data.val)).toEqual([[`${name}/a/2.png`, 0]]);
  });

  it('leaves train empty when there is only val', async () => {
    const data = await openDataset(folder('only-val', ['val/a/1.png']));
    expect([data.train.length, data.val.length]).toEqual([0, 1]);
  });

  it('holds out a fifth of each class, the same whatever is beside it', async () => {
    const files = (name: string, count: number) =>
      Array.from({ length: count }, (_, i) => `${name}/${i}.png`);
    const data = await openDataset(
      folder('classes', [...files('a', 20), ...files('b', 3), ...files('c', 1)]),
    );
    const counts = (split: Split) =>
      [0, 1, 2].map((label) => listing(split).filter(([, l]) => l === label).length);
    expect(counts(data.train)).toEqual([16, 2, 1]);
    expect(counts(data.val)).toEqual([4, 1, 0]);
    const again = await openDataset(folder('other', [...files('a', 20), ...files('zebra', 9)]));
    const heldOut = (split: Split) => listing(split).filter(([id]) => `${id}`.startsWith('a/'));
    expect(heldOut(again.val)).toEqual(heldOut(data.val));
  });

  it('holds out the same images of train, when there is only train', async () => {
    const names = Array.from({ length: 10 }, (_, i) => `train/a/${i}.png`);
    const data = await openDataset(folder('only-train', names));
    expect([data.train.length, data.val.length]).toEqual([8, 2]);
  });

  it('knows a class called train from a folder of classes', async () => {
    const data = await openDataset(
      folder('vehicles', ['bus/1.png', 'bus/2.png', 'train/1.png', 'train/2.png']),
    );
    expect(data.classes).toEqual(['bus', 'train']);
  });

  it('follows links, not in circles', async () => {
    const path = folder('links', ['train/a/1.png', 'val/a/1.png']);
    symlinkSync(join(path, 'train/a'), join(path, 'train/z'));
    expect((await openDataset(path)).classes).toEqual(['a', 'z']);
    symlinkSync(join(path, 'train'), join(path, 'train/a/loop'));
    await expect(openDataset(path)).rejects.toThrow(/loop.* is a link into a folder it lies in/);
  });

  it('rejects a damaged image when it is read, not before', async () => {
    const path = folder('damaged', ['a/1.png', 'a/2.png']);
    writeFileSync(join(path, 'a/1.png'), png.subarray(0, 40));
    const data = await openDataset(path);
    const bad = [data.train, data.val].find((split) => split.id(0) === 'a/1.png')!;
    await expect(bad.read(0)).rejects.toThrow();
  });

  it.each([
    ['empty', [], 'no images in'],
    ['no-class', ['1.png'], 'no images in'],
    ['stranger', ['train/a/1.png', 'val/b/1.png'], 'class "b" is in'],
    ['empty-class', ['train/a/1.png', 'train/b/readme.md', 'val/a/1.png'], 'no images of class "b" in'],
    ['empty-val', ['train/a/1.png', 'val/a/readme.md'], 'no images in'],
  ])('refuses %s', async (name, files, message) => {
    const path = folder(name, files);
    await expect(openDataset(path)).rejects.toThrow(UserError);
    await expect(openDataset(path)).rejects.toThrow(message);
  });
});

describe('mnist', () => {
  it('has 7,500 digits to train and 2,500 to measure, every class in both', async () => {
    const data = await openDataset('mnist');
    expect([data.train.length, data.val.length]).toEqual([7500, 2500]);
    expect(data.classes).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    const ids = [data.train, data.val].flatMap((split) => listing(split).map(([id]) => id));
    expect(new Set(ids).size).toBe(10_000);
    const perClass = (split: Split, digit: number) =>
      listing(split).filter(([, label]) => label === digit).length;
    for (let digit = 0; digit < 10; digit++) {
      const [train, val] = [perClass(data.train, digit), perClass(data.val, digit)];
      expect(Math.abs(val - (train + val) / 4)).toBeLessThan(1);
    }
  });

  it('reads digits as they are in the package', async () => {
    const { val } = await openDataset('mnist');
    const last = val.length - 1;
    expect([val.id(0), val.id(last), val.label(last)]).toEqual(['0/0', '9/974', 9]);
    const { width, height, channels, data } = await val.read(last);
    expect([width, height, channels, data.length]).toEqual([28, 28, 1, 784]);
    expect(Math.max(...data)).toBeGreaterThan(200);
  });
});

it('says what is wrong with a reference', async () => {
  await expect(openDataset(join(root, 'nowhere'))).rejects.toThrow(/no data set at .*nowhere; give a folder/);
  const file = join(root, 'file.png');
  writeFileSync(file, png);
  await expect(openDataset(file)).rejects.toThrow('is a file; a data set is a folder');
});
