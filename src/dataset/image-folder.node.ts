import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { UserError } from '../common/errors.ts';
import type { DataOptions } from './data-options.ts';
import type { Dataset, Split } from './dataset.ts';
import { decodeFile } from './decode.node.ts';
import { fileVersions } from './file-versions.node.ts';
import { holdOut } from './hold-out.ts';
import { trainNames, valNames } from './split-names.ts';

const readable = ['.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff'];
/** Image formats torchvision's ImageFolder lists too, but that can't be decoded here. */
const unreadable = ['.bmp', '.ppm', '.pgm'];

interface Sample {
  /** Path inside the data set, with forward slashes: the image's id. */
  readonly path: string;
  readonly label: number;
}

/**
 * Opens a folder in ImageFolder layout: `train/CLASS/*` with `val/CLASS/*` (or another of the names in
 * `split-names.ts`, in any case), or the classes directly. As in torchvision's ImageFolder, a class is a folder, its images
 * may lie in subfolders, links are followed, and indices follow the names sorted by code point;
 * folders and files whose names begin with a dot are left out.
 *
 * Without a validation folder, a fifth of each class is held out (`holdOut`). With a validation folder
 * alone, `train` is empty. Nothing is decoded here.
 * @throws UserError when the folder has no images, a class is empty, or is known to `val` only
 */
export async function openImageFolder(folder: string, options?: DataOptions): Promise<Dataset> {
  const trainDir = await firstWithFolders(folder, trainNames);
  const valDir = await firstWithFolders(folder, valNames);
  const classesDir = trainDir ?? valDir ?? '';
  const classes = await folders(join(folder, classesDir));
  const samples = await listClasses(folder, classesDir, classes, classes);
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
    val = await listClasses(folder, valDir, names, classes);
    if (val.length === 0) throw new UserError(`no images in ${join(folder, valDir)}`);
  } else if (!valDir) {
    ({ train, val } = holdOut(samples, ({ path }) => path));
  }
  const name = basename(resolve(folder));
  return {
    name,
    classes,
    train: fileSplit(`${folder} (train)`, folder, train, options),
    val: fileSplit(`${folder} (val)`, folder, val, options),
    version: () => fileVersions([...train, ...val].map(({ path }) => join(folder, path))),
  };
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

function fileSplit(name: string, folder: string, samples: readonly Sample[], options?: DataOptions): Split {
  return {
    name,
    length: samples.length,
    label: (index) => samples[index]!.label,
    id: (index) => samples[index]!.path,
    read: (index) => decodeFile(join(folder, samples[index]!.path), options),
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

/** Names of the folders in a folder, sorted by code point, which is the order of their UTF-8 bytes. */
async function folders(folder: string): Promise<string[]> {
  const entries = await list(folder);
  return entries
    .filter(({ kind }) => kind === 'folder')
    .map(({ name }) => name)
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

async function listClasses(
  root: string,
  part: string,
  names: readonly string[],
  classes: readonly string[],
): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const name of names) {
    const label = classes.indexOf(name);
    const prefix = part ? `${part}/${name}` : name;
    for (const path of await images(root, prefix, [])) samples.push({ path, label });
  }
  return samples;
}

/** Image files below a folder: its own by name, then those of its subfolders by name. */
async function images(root: string, prefix: string, above: readonly string[]): Promise<string[]> {
  const folder = join(root, prefix);
  const real = await realpath(folder);
  if (above.includes(real)) throw new UserError(`${folder} is a link into a folder it lies in; remove it`);
  const entries = (await list(folder)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const found: string[] = [];
  for (const { name, kind } of entries) {
    if (kind !== 'file') continue;
    const extension = extname(name).toLowerCase();
    if (readable.includes(extension)) found.push(`${prefix}/${name}`);
    else if (unreadable.includes(extension)) {
      throw new UserError(`${join(folder, name)}: ${extension} files can't be read; convert them to .png`);
    }
  }
  for (const { name, kind } of entries) {
    if (kind === 'folder') found.push(...(await images(root, `${prefix}/${name}`, [...above, real])));
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
