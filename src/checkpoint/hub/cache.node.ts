import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileError, makeFolder, writeFileWhole } from '../../common/files.node.ts';

const commitForm = /^[0-9a-f]{40}$/;

/**
 * One model's or data set's part of the cache, as huggingface_hub lays it out: `blobs/ETAG` are the files, `snapshots/COMMIT/NAME`
 * lead to them, `refs/REVISION` say which commit a branch was last seen at.
 */
export class CachedRepository {
  readonly #root: string;

  /** @param id `owner/name` */
  constructor(cache: string, kind: 'model' | 'dataset', id: string) {
    this.#root = join(cache, `${kind}s--${id.replaceAll('/', '--')}`);
  }

  /** The commit that a revision was last seen at; a commit is itself. */
  commitOf(revision: string): string | undefined {
    if (commitForm.test(revision)) return revision;
    try {
      const commit = readFileSync(join(this.#root, 'refs', revision), 'utf8').trim();
      return commitForm.test(commit) ? commit : undefined;
    } catch {
      return undefined;
    }
  }

  /** @throws UserError when the cache can't be written, as the others here */
  setCommit(revision: string, commit: string): void {
    if (revision !== commit) writeFileWhole(join(this.#root, 'refs', revision), commit);
  }

  /** The folder of a commit, whether it is there or not. */
  snapshot(commit: string): string {
    return join(this.#root, 'snapshots', commit);
  }

  /** Whether a commit's file is there. */
  has(commit: string, name: string): boolean {
    return existsSync(join(this.snapshot(commit), name));
  }

  /** Where a file of that etag is kept; its folder is made. */
  blob(etag: string): string {
    const path = join(this.#root, 'blobs', etag);
    try {
      makeFolder(dirname(path));
    } catch (error) {
      throw fileError(error, `can't write into the cache ${dirname(path)}`);
    }
    return path;
  }

  /** Makes a name of a commit lead to a blob; where links can't be had, it is a copy. */
  link(commit: string, name: string, blob: string): void {
    const path = join(this.snapshot(commit), name);
    try {
      mkdirSync(dirname(path), { recursive: true });
      rmSync(path, { force: true });
      try {
        symlinkSync(relative(dirname(path), blob), path);
      } catch {
        copyFileSync(blob, path);
      }
    } catch (error) {
      throw fileError(error, `can't write into the cache ${path}`);
    }
  }
}
