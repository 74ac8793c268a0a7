import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { Header, Pax } from 'tar';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageLocation, Split } from './dataset.ts';
import { openDataset } from './open.node.ts';

let root: string;
/** Encoded images of one grey each: image i has pixels of value 10 i. */
let pngs: Buffer[];
let folders = 0;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'webdataset-'));
  const png = (value: number) =>
    sharp({ create: { width: 4, height: 3, channels: 3, background: { r: value, g: value, b: value } } })
      .png()
      .toBuffer();
  pngs = await Promise.all(Array.from({ length: 20 }, (_, i) => png(10 * i)));
});
afterAll(() => rmSync(root, { recursive: true }));

type File = readonly [path: string, content: string | Buffer];

function tar(files: readonly File[]): Buffer {
  const blocks = files.flatMap(([path, content]) => {
    const body = Buffer.from(content);
    const long = Buffer.byteLength(path) > 100 ? [new Pax({ path }).encode()] : [];
    const head = Buffer.alloc(512);
    new Header({ path: path.slice(-99), size: body.length, type: 'File', mode: 0o644 }).encode(head, 0);
    return [...long, head, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

function folderOf(files: Record<string, Buffer | string>): string {
  const folder = join(root, `set${folders++}`);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** Images `from` to `to`, of the class that `label` gives them. */
const samples = (from: number, to: number, label: (i: number) => string | number): File[] =>
  pngs.slice(from, to).flatMap((png, i): File[] => [
    [`${from + i}.png`, png],
    [`${from + i}.cls`, `${label(from + i)}\n`],
  ]);

const labels = (split: Split) => Array.from({ length: split.length }, (_, i) => split.label(i));
const greys = (split: Split) =>
  Promise.all(Array.from({ length: split.length }, async (_, i) => (await split.read(i)).data[0]));

describe('a data set of tar archives', () => {
  it('is read by the splits in the names of its archives', async () => {
    const folder = folderOf({
      'digits-train-0000.tar': tar(samples(0, 6, (i) => i % 2)),
      'digits-train-0001.tar': tar(samples(6, 8, (i) => i % 2)),
      'digits-validation-0000.tar': tar(samples(8, 10, (i) => i % 2)),
    });
    const { classes, train, val } = await openDataset(folder);
    expect(classes).toEqual(['0', '1']);
    expect(labels(train)).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
    expect(await greys(train)).toEqual([0, 10, 20, 30, 40, 50, 60, 70]);
    expect(await greys(val)).toEqual([80, 90]);
    expect(val.id(1)).toBe('digits-validation-0000.tar:9');
    const { path, offset, size } = (await val.source!(1)) as Required<ImageLocation>;
    expect(readFileSync(path).subarray(offset, offset + size)).toEqual(pngs[9]);
  });

  it('holds out a fifth where there is no other split, and says so', async () => {
    const folder = folderOf({ '0.tar': tar(samples(0, 10, (i) => i % 2)) });
    const { train, val, notes } = await openDataset(folder);
    expect([train.length, val.length]).toEqual([8, 2]);
    expect(notes?.join()).toContain('2 of its 10 images are held out');
  });

  it('takes labels that are words, numbers that a file names, and those of metadata', async () => {
    const words = await openDataset(
      folderOf({ 'train.tar': tar(samples(0, 4, (i) => ['cat', 'ant'][i % 2]!)) }),
    );
    expect([words.classes, labels(words.train)]).toEqual([['ant', 'cat'], expect.arrayContaining([0, 1])]);
    const named = await openDataset(
      folderOf({ 'train/0.tar': tar(samples(0, 4, (i) => i % 2)), 'classnames.txt': 'wolf\nyak\n' }),
    );
    expect(named.classes).toEqual(['wolf', 'yak']);
    const described = tar([
      ['a/0.jpg', pngs[0]!],
      ['a/0.json', '{"label": 1, "caption": "one"}'],
      ['a/1.seg.png', pngs[2]!],
      ['a/1.json', '{"cls": 0}'],
      ['a/1.webp', pngs[1]!],
    ]);
    const { val } = await openDataset(folderOf({ 'val.tar': described }));
    expect([labels(val), await greys(val), val.id(0)]).toEqual([[1, 0], [0, 10], 'val.tar:a/0']);
  });

  it('reads long paths, and leaves out samples without an image, saying so', async () => {
    const long = `${'deep/'.repeat(30)}7`;
    const files: File[] = [
      [`${long}.png`, pngs[7]!],
      [`${long}.cls`, '0'],
      ['8.cls', '0'],
      ['8.txt', 'no image'],
    ];
    const { val, notes } = await openDataset(folderOf({ 'val.tar': tar(files) }));
    expect(val.id(0)).toBe(`val.tar:${long}`);
    expect(await greys(val)).toEqual([70]);
    expect(notes?.join()).toContain('1 samples without an image are left out: val.tar:8');
  });

  it('refuses what is damaged, unlabelled, compressed or outside the classes', async () => {
    const whole = tar(samples(0, 2, () => 0));
    const opening = (files: Record<string, Buffer | string>) => openDataset(folderOf(files));
    const damaged = Buffer.from(whole);
    damaged[3] = 7;
    await expect(opening({ 'a.tar': damaged })).rejects.toThrow('is damaged or no tar archive (at byte 0)');
    const cut = folderOf({ 'a.tar': whole });
    truncateSync(join(cut, 'a.tar'), 600);
    await expect(openDataset(cut)).rejects.toThrow('is cut off: 0.png ends behind it');
    const unlabelled = tar([
      ['0.png', pngs[0]!],
      ['0.txt', 'a cat'],
    ]);
    await expect(opening({ 'a.tar': unlabelled })).rejects.toThrow(
      'sample "0" has no label: it has png, txt',
    );
    await expect(opening({ 'a.tar.gz': whole })).rejects.toThrow('a.tar.gz is compressed');
    await expect(
      opening({ 'a.tar': tar(samples(0, 2, (i) => 3 * i)), 'classes.txt': 'ant\nbee' }),
    ).rejects.toThrow('sample "1" has label 3, none of the 2 classes');
    await expect(opening({ 'a.tar': tar(samples(0, 2, () => 1e9)) })).rejects.toThrow(
      'a label is 1000000000',
    );
    await expect(opening({ 'a.tar': Buffer.alloc(1024) })).rejects.toThrow('hold no samples');
  });
});
