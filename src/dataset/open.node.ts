import { stat } from 'node:fs/promises';
import { UserError } from '../common/errors.ts';
import type { Dataset } from './dataset.ts';
import { openImageFolder } from './image-folder.node.ts';
import { openMnist } from './mnist.node.ts';

/**
 * Opens a data set by what the user calls it: `mnist`, or a folder in ImageFolder layout. To open a
 * folder of that name, write `./mnist`.
 * @throws UserError when there is no such folder, or it isn't one of images
 */
export async function openDataset(ref: string): Promise<Dataset> {
  if (ref === 'mnist') return openMnist();
  const found = await stat(ref).catch(() => undefined);
  if (!found) throw new UserError(`no data set at ${ref}; give a folder in ImageFolder layout, or "mnist"`);
  if (!found.isDirectory()) throw new UserError(`${ref} is a file; a data set is a folder, or "mnist"`);
  return openImageFolder(ref);
}
