import { mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { assertReplaceable, fileError, makeFolder } from '../common/files.node.ts';
import { removeLeftovers, temporaryFolder } from '../common/leftovers.node.ts';

/**
 * Writes an artifact beside its place, and moves it there once `check` is content with it. What was
 * there before stays when it is not.
 * @param write is given the path to write to; files it makes beside it come along
 * @param check is given the same path
 * @throws UserError when the place can't be written; what `write` and `check` throw, with `path` for the draft's
 */
export async function writeChecked<R>(
  path: string,
  write: (path: string) => void | Promise<void>,
  check: (path: string) => Promise<R>,
): Promise<R> {
  assertReplaceable(path);
  const folder = dirname(path);
  let temporary: string | undefined;
  let draft = path;
  try {
    makeFolder(folder);
    removeLeftovers(folder);
    temporary = mkdtempSync(join(folder, temporaryFolder(basename(path))));
    draft = join(temporary, basename(path));
    await write(draft);
    const result = await check(draft);
    for (const name of readdirSync(temporary)) renameSync(join(temporary, name), join(folder, name));
    return result;
  } catch (error) {
    if (error instanceof Error) error.message = error.message.replaceAll(draft, path);
    throw fileError(error, `can't write ${path}`);
  } finally {
    if (temporary) rmSync(temporary, { recursive: true, force: true });
  }
}
