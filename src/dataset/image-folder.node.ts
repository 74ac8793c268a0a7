import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { UserError } from '../common/errors.ts';
import { mixBits } from '../common/random.ts';
import type { Dataset, Split } from './dataset.ts';
import { decodeImage } from './decode.node.ts';

const readable = ['.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff'];
/** Image formats torchvision's ImageFolder lists too, but that can't be decoded here. */
const unreadable = ['.bmp', '.ppm', '.pgm'];
const valNames = ['val', 'validation', 'test'];
/** Without a validation folder, one image of this many of each class is held out. */
const heldOutShare = 5;

interface Sample {
  /** Path inside the data set, with forward slashes: the image's id. */
  readonly path: string;
  readonly label: number;
}

/**
 * Opens a folder in ImageFolder layout: `train/CLASS/*` with `val/CLASS/*` (or `validation`, or
 * `test`), or the classes directly. As in torchvision's ImageFolder, a class is a folder, its images
 * may lie in subfolders, links are followed, and indices follow the names sorted by code point;
 * folders and files whose names begin with a dot are left out.
 *
 * Without a validation folder, a fifth of each class (rounded, at least one image, but never the only
 * one) is held out: the images whose paths within the class have the smallest hashes, so the choice
 * depends on names alone and hardly changes when images are added. With a validation folder alone,
 * `train` is empty. Nothing is decoded here.
 * @throws UserError when the folder has no images, a class is empty, or is known to `val` only
 */
export async function openImageFolder(folder: string): Promise<Dataset> {
  const trainDir = await firstWithFolders(folder, ['train']);
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
    ({ train, val } = holdOut(samples, classes.length));
  }
  const name = basename(resolve(folder));
  return {
    name,
    classes,
    train: fileSplit(`${folder} (train)`, folder, train),
    val: fileSplit(`${folder} (val)`, folder, val),
  };
}

/** The first of these folders that holds folders; one with images in it is a class that bears the name. */
async function firstWithFolders(folder: string, names: readonly string[]): Promise<string | undefined> {
  const present = await folders(folder);
  for (const name of names) {
    if (present.includes(name) && (await folders(join(folder, name))).length > 0) return name;
  }
  return undefined;
}

function fileSplit(name: string, folder: string, samples: readonly Sample[]): Split {
  return {
    name,
    length: samples.length,
    label: (index) => samples[index]!.label,
    id: (index) => samples[index]!.path,
    read: (index) => decodeImage(join(folder, samples[index]!.path)),
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

function holdOut(samples: readonly Sample[], classes: number): { train: Sample[]; val: Sample[] } {
  const byClass = Array.from({ length: classes }, (): { sample: Sample; hash: number }[] => []);
  for (const sample of samples) byClass[sample.label]!.push({ sample, hash: hashText(sample.path) });
  const heldOut = new Set<Sample>();
  for (const members of byClass) {
    const count = members.length < 2 ? 0 : Math.max(1, Math.round(members.length / heldOutShare));
    members.sort((a, b) => a.hash - b.hash);
    for (const { sample } of members.slice(0, count)) heldOut.add(sample);
  }
  return {
    train: samples.filter((sample) => !heldOut.has(sample)),
    val: samples.filter((sample) => heldOut.has(sample)),
  };
}

/** FNV-1a over UTF-16 units, scattered: neighbouring file numbers give unrelated hashes. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mixBits(hash);
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
