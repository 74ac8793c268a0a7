import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import type { Split } from './dataset.ts';
import { openDataset } from './open.node.ts';

let root: string;
/** Encoded images of one grey each: image i has pixels of value 10 i. */
let pngs: Uint8Array[];
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'parquet-'));
  const png = (value: number) =>
    sharp({ create: { width: 4, height: 3, channels: 3, background: { r: value, g: value, b: value } } })
      .png()
      .toBuffer();
  pngs = await Promise.all(Array.from({ length: 20 }, async (_, i) => new Uint8Array(await png(10 * i))));
});
afterAll(() => rmSync(root, { recursive: true }));

interface FileOptions {
  /** Which of the images are in it. */
  images: readonly (number | undefined)[];
  labels: readonly (number | string | null)[];
  /** Class names in the Hub's metadata; absent: no metadata. */
  names?: readonly string[];
  columns?: { image: string; label: string };
  metadata?: string;
  rowGroupSize?: number;
}

/** A parquet file with a column of images and one of labels, as the Hub's `datasets` writes it. */
function parquet({
  images,
  labels,
  names,
  columns = { image: 'img', label: 'label' },
  ...rest
}: FileOptions): Uint8Array {
  const { image, label } = columns;
  const words = labels.some((value) => typeof value === 'string');
  const features = { [image]: { _type: 'Image' }, [label]: { names, _type: 'ClassLabel' } };
  const metadata = rest.metadata ?? (names && JSON.stringify({ info: { features } }));
  const buffer = parquetWriteBuffer({
    columnData: [
      {
        name: image,
        data: images.map((i) => ({ bytes: i === undefined ? null : pngs[i], path: `${i}.png` })),
      },
      {
        name: label,
        data: words ? [...labels] : labels.map((value) => (value === null ? null : BigInt(value))),
      },
    ],
    schema: [
      { name: 'root', num_children: 2 },
      { name: image, num_children: 2, repetition_type: 'OPTIONAL' },
      { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
      { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
      words
        ? { name: label, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }
        : { name: label, type: 'INT64', repetition_type: 'OPTIONAL' },
    ],
    ...(metadata ? { kvMetadata: [{ key: 'huggingface', value: metadata }] } : {}),
    ...(rest.rowGroupSize ? { rowGroupSize: rest.rowGroupSize } : {}),
  });
  return new Uint8Array(buffer);
}

let folders = 0;
function folder(files: Record<string, Uint8Array>): string {
  const path = join(root, `set${folders++}`);
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), bytes);
  }
  return path;
}

const names = ['cat', 'dog'];
const labelsOf = (split: Split) => Array.from({ length: split.length }, (_, i) => split.label(i));
const idsOf = (split: Split) => Array.from({ length: split.length }, (_, i) => split.id(i));
const greys = (split: Split) =>
  Promise.all(Array.from({ length: split.length }, async (_, i) => (await split.read(i)).data[0]! / 10));

describe('parquet data sets', () => {
  it('reads images and labels over files and row groups, in order', async () => {
    const path = folder({
      'plain_text/train-00001-of-00002.parquet': parquet({ images: [5, 6], labels: [1, 1], names }),
      'plain_text/train-00000-of-00002.parquet': parquet({
        images: [0, 1, 2, 3, 4],
        labels: [0, 1, 0, 1, 0],
        names,
        rowGroupSize: 2,
      }),
      'plain_text/test-00000-of-00001.parquet': parquet({ images: [7, 8], labels: [1, 0], names }),
      'README.md': new Uint8Array(),
    });
    const { classes, train, val } = await openDataset(path);
    expect(classes).toEqual(names);
    expect(labelsOf(train)).toEqual([0, 1, 0, 1, 0, 1, 1]);
    expect(await greys(train)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(await train.source!(5)).toEqual(pngs[5]);
    expect([labelsOf(val), await greys(val)]).toEqual([
      [1, 0],
      [7, 8],
    ]);
    expect([train.id(4), train.id(6)]).toEqual([
      'plain_text/train-00000-of-00002.parquet:4',
      'plain_text/train-00001-of-00002.parquet:1',
    ]);
    expect(await train.read(2)).toMatchObject({ width: 4, height: 3, channels: 3 });
  });

  it.each([
    ['train', 'validation'],
    ['Training', 'DEV'],
    ['train', 'valid'],
  ])('knows the splits %s and %s by folder', async (train, val) => {
    const path = folder({
      [`${train}/0000.parquet`]: parquet({ images: [0, 1], labels: [0, 1], names }),
      [`${val}/0000.parquet`]: parquet({ images: [2], labels: [1], names }),
    });
    const data = await openDataset(path);
    expect([await greys(data.train), await greys(data.val)]).toEqual([[0, 1], [2]]);
  });

  it('measures on a validation split rather than on a test split', async () => {
    const data = await openDataset(
      folder({
        'train.parquet': parquet({ images: [0], labels: [0], names }),
        'test.parquet': parquet({ images: [1], labels: [0], names }),
        'validation.parquet': parquet({ images: [2], labels: [0], names }),
      }),
    );
    expect(await greys(data.val)).toEqual([2]);
  });

  it('holds out a fifth of each class where there is no validation split', async () => {
    const images = Array.from({ length: 20 }, (_, i) => i);
    const file = parquet({ images, labels: images.map((i) => i % 2), names });
    const { train, val } = await openDataset(folder({ 'data.parquet': file }));
    expect([train.length, val.length]).toEqual([16, 4]);
    expect(labelsOf(val).toSorted()).toEqual([0, 0, 1, 1]);
    expect(new Set([...idsOf(train), ...idsOf(val)]).size).toBe(20);
  });

  it('takes words as labels, and numbers without names', async () => {
    const words = await openDataset(
      folder({ 'train.parquet': parquet({ images: [0, 1, 2], labels: ['dog', 'ant', 'dog'] }) }),
    );
    expect(words.classes).toEqual(['ant', 'dog']);
    expect([...labelsOf(words.train), ...labelsOf(words.val)].toSorted()).toEqual([0, 1, 1]);
    const numbers = await openDataset(
      folder({ 'test.parquet': parquet({ images: [0, 1], labels: [2, 0] }) }),
    );
    expect(numbers.classes).toEqual(['0', '1', '2']);
    expect([numbers.train.length, labelsOf(numbers.val)]).toEqual([0, [2, 0]]);
  });

  it('finds columns by the declared types, whatever they are called', async () => {
    const columns = { image: 'photo', label: 'species' };
    const file = parquet({ images: [3], labels: [1], names, columns });
    const { val } = await openDataset(folder({ 'test.parquet': file }));
    expect([labelsOf(val), await greys(val)]).toEqual([[1], [3]]);
  });

  it('rejects a row without an image when it is read', async () => {
    const { val } = await openDataset(
      folder({ 'test.parquet': parquet({ images: [undefined, 1], labels: [0, 1], names }) }),
    );
    await expect(val.read(0)).rejects.toThrow('the row holds no image');
    expect((await val.read(1)).data[0]).toBe(10);
  });

  it.each<[string, () => Record<string, Uint8Array>, string]>([
    [
      'a file cut off',
      () => ({ 'train.parquet': whole().subarray(0, 100) }),
      'is damaged or no parquet file',
    ],
    ['a file of text', () => ({ 'train.parquet': Buffer.from('not parquet, by far') }), 'fetch it again'],
    [
      'no images',
      () => ({ 'train.parquet': table({ text: ['a'], label: [1n] }) }),
      'no one column of images (a struct with the encoded image as "bytes"); its columns are text, label',
    ],
    [
      'no labels',
      () => ({ 'a.parquet': parquet({ images: [0], labels: [0], columns: { image: 'img', label: 'n' } }) }),
      'no one column of labels (a ClassLabel, or one called label or labels); its columns are img, n',
    ],
    [
      'a label of nothing',
      () => ({ 'test.parquet': parquet({ images: [0, 1], labels: [0, -1], names }) }),
      'row 1 has no label (-1 in column label)',
    ],
    [
      'a missing label',
      () => ({ 'test.parquet': parquet({ images: [0, 1], labels: [0, null], names }) }),
      'row 1 has no label',
    ],
    [
      'a label above the names',
      () => ({ 'test.parquet': parquet({ images: [0], labels: [2], names }) }),
      'row 0 has label 2, none of the 2 classes',
    ],
    [
      'files that disagree',
      () => ({
        'train.parquet': whole(),
        'test.parquet': parquet({ images: [0], labels: [0], names: ['dog', 'cat'] }),
      }),
      'do not name the same classes',
    ],
    [
      'two data sets',
      () => ({ 'a/train.parquet': whole(), 'b/train.parquet': whole() }),
      'holds several data sets; give one of the folders',
    ],
    [
      'metadata that is no JSON',
      () => ({ 'test.parquet': parquet({ images: [0], labels: [0], metadata: '{' }) }),
      'its "huggingface" metadata is no JSON',
    ],
  ])('refuses %s', async (_, files, message) => {
    const path = folder(files());
    await expect(openDataset(path)).rejects.toThrow(UserError);
    await expect(openDataset(path)).rejects.toThrow(message);
  });

  it('says when the images of a file are damaged', async () => {
    const bytes = whole();
    // The first page header, after the four letters at the beginning, no longer says how long the page is.
    bytes.fill(0xff, 4, 30);
    const { val } = await openDataset(folder({ 'test.parquet': bytes }));
    await expect(val.read(0)).rejects.toThrow(/test\.parquet is damaged/);
  });
});

const whole = () => parquet({ images: [0, 1], labels: [0, 1], names });

/** A parquet file of plain columns. */
function table(columns: Record<string, unknown[]>): Uint8Array {
  const columnData = Object.entries(columns).map(([name, data]) => ({ name, data }));
  return new Uint8Array(parquetWriteBuffer({ columnData }));
}
