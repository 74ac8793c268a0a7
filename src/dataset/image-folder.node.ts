import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { UserError } from '../common/errors.ts';
import type { DataOptions } from './data-options.ts';
import type { Dataset, Split } from './dataset.ts';
import { decodeFile } from './decode.node.ts';
import { fileVersions } from './file-versions.node.ts';
import { heldOutNote, holdOut } from './hold-out.ts';
import { imagePool } from './image-pool.node.ts';
import { trainNames, valNames } from './split-names.ts';

const readable = ['.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff'];
/** Images too, but of formats that are not decoded, or not taken by timm and torchvision. */
const unreadable = ['.bmp', '.ppm', '.pgm', '.gif', '.avif', '.heic', '.heif', '.jxl', '.jp2', '.svg'];

interface Sample {
  /** Path inside the data set, with forward slashes: the image's id. */
  readonly path: string;
  readonly label: number;
}

/**
 * Opens a folder in ImageFolder layout: `train/CLASS/*` with `val/CLASS/*` (or another of the names in
 * `split-names.ts`, in any case), or the classes directly. As in torchvision's ImageFolder, a class is a folder, its images
 * may lie in subfolders, links are followed, and indices follow the names in timm's order, 2 before 10;
 * folders and files whose names begin with a dot are left out.
 *
 * Without a validation folder, a fifth of each class is held out (`holdOut`). With a validation folder
 * alone, `train` is empty. Nothing is decoded here.
 * @throws UserError when the folder has no images, a class is empty, or is known to `val` only
 */
export async function openImageFolder(folder: string, options?: DataOptions): Promise<Dataset> {
  const skipped: string[] = [];
  const notes: string[] = [];
  const trainDir = await firstWithFolders(folder, trainNames);
  const valDir = await firstWithFolders(folder, valNames);
  const classesDir = trainDir ?? valDir ?? '';
  const classes = await folders(join(folder, classesDir));
  const samples = await listClasses(folder, classesDir, classes, classes, skipped);
  if (samples.length === 0) {
    throw new UserError(
      `no images in ${folder}; expected train/CLASS/* and val/CLASS/*, or CLASS/*, with ${readable.join(' ')}`,
    );
  }
  refuseEmptyClasses(join(folder, classesDir), classes, samples);

  let train: Sample[] = [];
  let val = samples;
  if (trainDir && valDir) {
    train = samples;
    const names = await folders(join(folder, valDir));
    const stranger = names.find((name) => !classes.includes(name));
    if (stranger !== undefined) {
      throw new UserError(`class "${stranger}" is in ${join(folder, valDir)} but not in train`);
    }
    val = await listClasses(folder, valDir, names, classes, skipped);
    if (val.length === 0) throw new UserError(`no images in ${join(folder, valDir)}`);
  } else if (!valDir) {
    ({ train, val } = holdOut(samples, ({ path }) => path));
    notes.push(heldOutNote(folder, val.length, samples.length));
  }
  if (skipped.length > 0) notes.push(skippedNote(folder, skipped));
  const name = basename(resolve(folder));
  return {
    name,
    classes,
    train: fileSplit(`${folder} (train)`, folder, train, options),
    val: fileSplit(`${folder} (val)`, folder, val, options),
    isTest: trainDir !== undefined && valDir?.toLowerCase() === 'test',
    notes,
    version: () => fileVersions([...train, ...val].map(({ path }) => join(folder, path))),
  };
}

function skippedNote(folder: string, skipped: readonly string[]): string {
  const some = skipped.slice(0, 3).join(', ');
  return `${folder}: ${skipped.length} files of formats that are not read are left out: ${some}${skipped.length > 3 ? ', ...' : ''}`;
}

/** The first of these folders that holds folders; one with images in it is a class that bears the name. */
async function firstWithFolders(folder: string, names: readonly string[]): Promise<string | undefined> {
  const present = await folders(folder);
  for (const name of names) {
    for (const found of present.filter((candidate) => candidate.toLowerCase() === name)) {
      if ((await folders(join(folder, found))).length > 0) return found;
    }
  }
  return undefined;
}

function fileSplit(
  name: string,
  folder: string,
  samples: readonly Sample[],
  options: DataOptions = {},
): Split {
  const pathOf = (index: number) => join(folder, samples[index]!.path);
  const source = async (index: number) => ({ path: pathOf(index) });
  return {
    name,
    length: samples.length,
    label: (index) => samples[index]!.label,
    id: (index) => samples[index]!.path,
    read: (index, viewer) => decodeFile(pathOf(index), options, viewer),
    source,
    pool: (threads, preparation) => imagePool(threads, preparation, options, source),
  };
}

function refuseEmptyClasses(where: string, classes: readonly string[], samples: readonly Sample[]): void {
  const filled = new Set(samples.map(({ label }) => label));
  const empty = classes.filter((_, label) => !filled.has(label));
  if (empty.length === 0) return;
  const some = empty.slice(0, 3).map((name) => `"${name}"`);
  const more = empty.length > some.length ? ` and ${empty.length - some.length} more` : '';
  throw new UserError(
    `no images of class ${some.join(', ')}${more} in ${where}; add some or remove the folder`,
  );
}

/**
 * Names as timm sorts classes (`natural_key`): without case, runs of digits by their number, so that 2 stands before 10;
 * what is equal then by code point.
 */
function byNature(a: string, b: string): number {
  const parts = (name: string) => name.toLowerCase().split(/(\d+)/);
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x, y] = [left[i]!, right[i]!];
    const order = i % 2 === 1 ? byNumber(x, y) : byCodePoint(x, y);
    if (order !== 0) return order;
  }
  return left.length - right.length || byCodePoint(a, b);
}

const byCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

function byNumber(a: string, b: string): number {
  const [x, y] = [BigInt(a), BigInt(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Names of the folders in a folder, as timm sorts them. */
async function folders(folder: string): Promise<string[]> {
  const entries = await list(folder);
  return entries
    .filter(({ kind }) => kind === 'folder')
    .map(({ name }) => name)
    .sort(byNature);
}

async function listClasses(
  root: string,
  part: string,
  names: readonly string[],
  classes: readonly string[],
  skipped: string[],
): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const name of names) {
    const label = classes.indexOf(name);
    const prefix = part ? `${part}/${name}` : name;
    for (const path of await images(root, prefix, [], skipped)) samples.push({ path, label });
  }
  return samples;
}

/** Image files below a folder: its own by name, then those of its subfolders by name. */
async function images(
  root: string,
  prefix: string,
  above: readonly string[],
  skipped: string[],
): Promise<string[]> {
  const folder = join(root, prefix);
  const real = await realpath(folder);
  if (above.includes(real)) throw new UserError(`${folder} is a link into a folder it lies in; remove it`);
  const entries = (await list(folder)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const found: string[] = [];
  for (const { name, kind } of entries) {
    if (kind !== 'file') continue;
    const extension = extname(name).toLowerCase();
    if (readable.includes(extension)) found.push(`${prefix}/${name}`);
    else if (unreadable.includes(extension)) skipped.push(`${prefix}/${name}`);
  }
  for (const { name, kind } of entries) {
    if (kind === 'folder')
      found.push(...(await images(root, `${prefix}/${name}`, [...above, real], skipped)));
  }
  return found;
}

interface Entry {
  readonly name: string;
  readonly kind: 'file' | 'folder';
}

/** What a folder holds, hidden names left out, links followed, broken links left out. */
async function list(folder: string): Promise<Entry[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    throw new UserError(`can't list ${folder}: ${(error as Error).message}`);
  }
  const found = entries
    .filter(({ name }) => !name.startsWith('.'))
    .map(async (entry): Promise<Entry | undefined> => {
      const { name } = entry;
      const target = entry.isSymbolicLink() ? await stat(join(folder, name)).catch(() => entry) : entry;
      if (target.isDirectory()) return { name, kind: 'folder' };
      return target.isFile() ? { name, kind: 'file' } : undefined;
    });
  return (await Promise.all(found)).filter((entry) => entry !== undefined);
}
