import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { parseJsonAs } from '../common/json.ts';
import { quoted } from '../common/quoted.ts';
import type { DataOptions } from './data-options.ts';
import type { Dataset, Split } from './dataset.ts';
import { decodeImage } from './decode.node.ts';
import { fileVersions } from './file-versions.node.ts';
import { heldOutNote, holdOut } from './hold-out.ts';
import { imageBytes } from './image-bytes.node.ts';
import { imagePool } from './image-pool.node.ts';
import { splitFiles } from './split-files.node.ts';
import { type TarEntry, TarReader } from './tar-index.node.ts';

/** What an image may be called in a sample, best first. */
const imageParts = ['jpg', 'jpeg', 'png', 'webp', 'tif', 'tiff'];
/** Files beside the shards that name the classes, a line each. */
export const classFiles = ['classnames.txt', 'classes.txt'];
/** Longest label or sample of metadata that is read. */
const longestLabel = 2 ** 20;

const described = z.object({
  label: z.union([z.number(), z.string()]).optional(),
  cls: z.union([z.number(), z.string()]).optional(),
});

/** How the parts of a sample say its label, best first. */
const labelParts: Record<string, (text: string, where: string) => number | string | undefined> = {
  cls: (text) => text.trim(),
  json(text, where) {
    const { label, cls } = parseJsonAs(described, text, where);
    return label ?? cls;
  },
};

interface Sample {
  readonly shard: string;
  /** The path of its files up to the first dot of the name: what WebDataset calls the key. */
  readonly key: string;
  readonly image: TarEntry;
  readonly label: number;
}

/**
 * Opens a data set in WebDataset's form: tar archives in which the files of a sample stand side by side and share
 * their name up to the first dot, `KEY.jpg` with `KEY.cls` (the class as a number, or its name) or `KEY.json` (with
 * `label` or `cls`). The split is a word of an archive's name or of its folder's (`imagenet1k-train-0000.tar`, `train/0000.tar`); a
 * `classnames.txt` or `classes.txt` beside the archives names the classes. Without a validation split a fifth of each
 * class is held out.
 *
 * Headers and labels are read at once; an image when it is asked for, wherever it lies, so that the order of a pass
 * is as random as that of any data set.
 * @param paths the archives in `folder`
 * @throws UserError on an archive that is damaged, a sample without an image or a label, labels outside the classes
 */
export async function openWebDataset(
  folder: string,
  paths: readonly string[],
  options: DataOptions = {},
): Promise<Dataset> {
  const parts = splitFiles(folder, paths);
  const names = await classNames(folder, paths);
  const notes: string[] = [];
  const skipped: string[] = [];
  const listed = [parts.train, parts.val].map((shards) =>
    shards.flatMap((shard) => samplesOf(shard, skipped)),
  );
  const classes = names ?? classesOf(listed.flat());
  let [train, val] = listed.map((samples) => labelled(samples, classes)) as [Sample[], Sample[]];
  if (train.length + val.length === 0) throw new UserError(`the tar archives in ${folder} hold no samples`);
  const idOf = ({ shard, key }: Sample) => `${relative(folder, shard).split(sep).join('/')}:${key}`;
  if (val.length === 0) {
    const all = train.length;
    ({ train, val } = holdOut(train, idOf));
    notes.push(heldOutNote(folder, val.length, all));
  }
  if (skipped.length > 0) {
    const some = skipped.slice(0, 3).join(', ');
    notes.push(`${folder}: ${skipped.length} samples without an image are left out: ${some}`);
  }
  const split = (name: string, samples: readonly Sample[]): Split => {
    const source = async (index: number) => {
      const { shard, image } = samples[index]!;
      return { path: shard, offset: image.offset, size: image.size };
    };
    return {
      name: `${folder} (${name})`,
      length: samples.length,
      label: (index) => samples[index]!.label,
      id: (index) => idOf(samples[index]!),
      read: async (index, viewer) => decodeImage(await imageBytes(await source(index)), options, viewer),
      source,
      pool: (threads, preparation) => imagePool(threads, preparation, options, source),
    };
  };
  return {
    name: basename(resolve(folder)),
    classes,
    train: split('train', train),
    val: split('val', val),
    isTest: parts.isTest,
    notes,
    version: () => fileVersions(paths),
  };
}

type Unsorted = Omit<Sample, 'label'> & { readonly label: number | string };

/** The samples of one archive. @param skipped is told those without an image */
function samplesOf(shard: string, skipped: string[]): Unsorted[] {
  const reader = new TarReader(shard);
  try {
    const samples: Unsorted[] = [];
    let [key, parts]: [string, Map<string, TarEntry>] = ['', new Map()];
    const finish = () => {
      if (parts.size === 0) return;
      const image = imageParts.map((part) => parts.get(part)).find((entry) => entry !== undefined);
      if (image) samples.push({ shard, key, image, label: labelOf(reader, key, parts) });
      else skipped.push(`${basename(shard)}:${key}`);
    };
    for (const entry of reader.entries()) {
      const name = basename(entry.path);
      const dot = name.indexOf('.');
      if (dot <= 0) continue;
      const its = join(dirname(entry.path), name.slice(0, dot));
      if (its !== key) {
        finish();
        [key, parts] = [its, new Map()];
      }
      parts.set(name.slice(dot + 1).toLowerCase(), entry);
    }
    finish();
    return samples;
  } finally {
    reader.close();
  }
}

function labelOf(reader: TarReader, key: string, parts: ReadonlyMap<string, TarEntry>): number | string {
  for (const [part, read] of Object.entries(labelParts)) {
    const entry = parts.get(part);
    if (!entry || entry.size > longestLabel) continue;
    const where = `${reader.path}: ${entry.path}`;
    const label = read(new TextDecoder().decode(reader.read(entry.offset, entry.size)), where);
    if (label === undefined || label === '') continue;
    return /^\d+$/.test(`${label}`) ? Number(label) : label;
  }
  const list = [...parts.keys()].join(', ');
  throw new UserError(
    `${reader.path}: sample ${quoted(key)} has no label: it has ${list}, but no cls, and no json with "label"`,
  );
}

/** What a file beside the archives, or in the folder, calls the classes. */
async function classNames(folder: string, paths: readonly string[]): Promise<string[] | undefined> {
  for (const place of new Set([folder, ...paths.map(dirname)])) {
    for (const name of classFiles) {
      const path = join(place, name);
      const found = await stat(path).catch(() => undefined);
      if (!found?.isFile() || found.size > longestLabel) continue;
      const lines = (await readFile(path, 'utf8')).split(/\r?\n/);
      return lines.slice(0, lines.findLastIndex((line) => line !== '') + 1);
    }
  }
  return undefined;
}

/** Without names the words among the labels, sorted; else the numbers up to the largest. */
function classesOf(samples: readonly Unsorted[]): string[] {
  const labels = [...new Set(samples.map(({ label }) => label))];
  const words = labels.filter((label) => typeof label === 'string');
  if (words.length > 0 && words.length < labels.length) {
    throw new UserError(
      `some labels are numbers and some words (${quoted(words[0])}); they must be of one kind`,
    );
  }
  if (words.length > 0) return words.toSorted();
  const largest = labels.reduce<number>((most, label) => Math.max(most, Number(label)), -1);
  if (largest >= samples.length) {
    throw new UserError(`a label is ${largest}, and there are only ${samples.length} samples`);
  }
  return Array.from({ length: largest + 1 }, (_, label) => String(label));
}

function labelled(samples: readonly Unsorted[], classes: readonly string[]): Sample[] {
  const positions = new Map(classes.map((name, position) => [name, position]));
  return samples.map(({ label: value, ...sample }) => {
    const label = typeof value === 'string' ? positions.get(value) : value;
    if (label === undefined || label >= classes.length) {
      throw new UserError(
        `${sample.shard}: sample ${quoted(sample.key)} has label ${quoted(value)}, none of the ${classes.length} classes`,
      );
    }
    return { ...sample, label };
  });
}
