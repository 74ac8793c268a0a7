import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileError, makeFolder, writeFileWhole } from '../common/files.node.ts';

interface Marker<R> {
  key: string;
  result: R;
}

/** The stable fingerprint of what a stage depends on. */
export function fingerprint(...parts: unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/**
 * A folder in which each finished stage has a folder of its own and, written last, a `stage.json` with
 * its result and the fingerprint of everything it came from. A stage whose fingerprint still matches
 * need not be done again.
 */
export class RunDirectory {
  readonly path: string;
  readonly #resume: boolean;

  /** @param resume take over finished stages; otherwise every stage is done anew */
  constructor(path: string, resume: boolean) {
    this.path = path;
    this.#resume = resume;
    try {
      makeFolder(path);
    } catch (error) {
      throw fileError(error, `can't write ${path}`);
    }
  }

  folder(stage: string): string {
    return join(this.path, stage);
  }

  /**
   * The result of a stage: taken over when it was finished under the same key, else made by `work`,
   * which is given the stage's folder. An unfinished stage's files stay for `work` to resume from.
   */
  async stage<R>(
    name: string,
    key: string,
    work: (folder: string) => Promise<R>,
    resumed: (name: string) => void,
  ): Promise<R> {
    const folder = this.folder(name);
    const marker = join(folder, 'stage.json');
    const pending = join(folder, 'pending.json');
    if (this.#resume && existsSync(marker)) {
      const found = JSON.parse(readFileSync(marker, 'utf8')) as Marker<R>;
      if (found.key === key) {
        resumed(name);
        return found.result;
      }
    }
    const unfinished = existsSync(pending) && JSON.parse(readFileSync(pending, 'utf8')).key === key;
    if (!(this.#resume && unfinished)) rmSync(folder, { recursive: true, force: true });
    rmSync(marker, { force: true });
    writeFileWhole(pending, JSON.stringify({ key }));
    const result = await work(folder);
    writeFileWhole(marker, JSON.stringify({ key, result } satisfies Marker<R>, null, 2));
    rmSync(pending, { force: true });
    return result;
  }
}
