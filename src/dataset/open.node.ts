import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../common/errors.ts';
import { dataForms } from './data-forms.ts';
import type { DataOptions } from './data-options.ts';
import type { Dataset } from './dataset.ts';
import { openImageFolder } from './image-folder.node.ts';
import { openMnist } from './mnist.node.ts';
import { openParquet } from './parquet.node.ts';
import { splitOf } from './split-names.ts';

/**
 * Opens a data set by what the user calls it: `mnist`, or a folder in ImageFolder layout or of parquet
 * files as the Hub lays them out. To open a folder of that name, write `./mnist`.
 * @throws UserError when there is no such folder, or it isn't one of images
 */
export async function openDataset(ref: string, options?: DataOptions): Promise<Dataset> {
  if (ref === 'mnist') return openMnist();
  const found = await stat(ref).catch(() => undefined);
  if (!found) throw new UserError(`no data set at ${ref}; give ${dataForms}`);
  if (!found.isDirectory()) throw new UserError(`${ref} is a file; a data set is ${dataForms}`);
  const parquet = await parquetFiles(ref);
  return parquet.length > 0 ? openParquet(ref, parquet, options) : openImageFolder(ref, options);
}

/**
 * The parquet files in a folder, in the folders in it, and in folders of splits one level further. Not deeper:
 * below `train/CLASS` may be a million images. Hidden folders (a Hub download's cache) are left out.
 */
async function parquetFiles(folder: string, level = 0): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const found: string[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    if (entry.name.toLowerCase().endsWith('.parquet')) found.push(path);
    else if (entry.isDirectory() && (level === 0 || (level === 1 && splitOf(entry.name)))) {
      found.push(...(await parquetFiles(path, level + 1)));
    }
  }
  return found;
}
