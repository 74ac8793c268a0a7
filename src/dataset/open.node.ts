import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import { dataForms } from './data-forms.ts';
import type { DataOptions } from './data-options.ts';
import type { Dataset } from './dataset.ts';
import { hubDataset, hubDatasetFolder } from './hub-dataset.node.ts';
import { openImageFolder } from './image-folder.node.ts';
import { openMnist } from './mnist.node.ts';
import { openParquet } from './parquet.node.ts';
import { splitOf } from './split-names.ts';
import { openWebDataset } from './webdataset.node.ts';

/** How a data set is read, and who is told of downloads. */
export interface DataReading extends DataOptions {
  /** Only what is in the cache; default as `HF_HUB_OFFLINE` says. */
  readonly offline?: boolean | undefined;
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Data sets of files that hold many images each, by what the files are called. */
const shards: Record<string, typeof openParquet> = { '.parquet': openParquet, '.tar': openWebDataset };
const packed = ['.tar.gz', '.tgz', '.tar.zst', '.tar.bz2', '.tar.xz'];

/**
 * Opens a data set by what the user calls it: `mnist`, or a folder in ImageFolder layout, of parquet files as the Hub
 * lays them out, or of tar archives as WebDataset does; what is on no disk is looked for on the Hub, as `owner/name`. To
 * open a folder of the name mnist, write `./mnist`.
 * @throws UserError when there is no such folder or data set, or it isn't one of images
 */
export async function openDataset(ref: string, options: DataReading = {}): Promise<Dataset> {
  if (ref === 'mnist') return openMnist();
  const found = await stat(ref).catch(() => undefined);
  if (!found) {
    const remote = existsSync(dirname(ref)) && dirname(ref) !== '.' ? undefined : hubDataset(ref);
    if (!remote) throw new UserError(`no data set at ${ref}; give ${dataForms}`);
    const opened = await openDataset(await hubDatasetFolder(remote, Object.keys(shards), options), options);
    return { ...opened, name: remote.id };
  }
  if (!found.isDirectory()) throw new UserError(`${ref} is a file; a data set is ${dataForms}`);
  const files = await filesOf(ref);
  for (const [extension, open] of Object.entries(shards)) {
    const paths = files.filter((path) => path.toLowerCase().endsWith(extension));
    if (paths.length > 0) return open(ref, paths, options);
  }
  const compressed = files.find((path) => packed.some((end) => path.toLowerCase().endsWith(end)));
  if (compressed) {
    throw new UserError(
      `${compressed} is compressed, so that no image in it can be read alone; unpack it to .tar`,
    );
  }
  return openImageFolder(ref, options);
}

/**
 * The files in a folder, in the folders in it, and in folders of splits one level further. Not deeper:
 * below `train/CLASS` may be a million images. Hidden folders (a Hub download's cache) are left out.
 */
async function filesOf(folder: string, level = 0): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const found: string[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    if (!entry.isDirectory()) found.push(path);
    else if (level === 0 || (level === 1 && splitOf(entry.name))) {
      found.push(...(await filesOf(path, level + 1)));
    }
  }
  return found;
}
