import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { Variant } from './variant.ts';

/** Bytes of models that are kept in memory for the next device. */
const most = 1 << 30;

interface Kept {
  readonly bytes: Uint8Array;
  /** Size, time and number of the file on disk when it was read. */
  readonly stamp: string;
}

/**
 * The bytes of variants, as they were when they were listed. What is given is what was hashed: nothing can change between the
 * two. All devices share one copy.
 */
export class ModelStore {
  readonly #kept = new Map<Variant, Promise<Kept | undefined>>();

  /** @returns undefined when the file is gone or no longer what was listed */
  async bytes(variant: Variant): Promise<Uint8Array | undefined> {
    const before = await this.#kept.get(variant);
    if (before && before.stamp === (await stampOf(variant.path))) {
      this.#kept.delete(variant); // it goes to the end, away from those that are dropped first
      this.#kept.set(variant, Promise.resolve(before));
      return before.bytes;
    }
    const reading = read(variant);
    this.#kept.set(variant, reading);
    const found = await reading;
    if (!found) this.#kept.delete(variant);
    await this.#drop(variant);
    return found?.bytes;
  }

  async #drop(latest: Variant): Promise<void> {
    let total = 0;
    for (const { bytes } of this.#kept.keys()) total += bytes;
    for (const variant of [...this.#kept.keys()]) {
      if (total <= most || variant === latest) return;
      this.#kept.delete(variant);
      total -= variant.bytes;
    }
  }
}

async function read({ path, bytes: size, sha256 }: Variant): Promise<Kept | undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const stat = await file.stat();
    if (!stat.isFile() || stat.size !== size) return undefined;
    const bytes = await file.readFile();
    if (createHash('sha256').update(bytes).digest('hex') !== sha256) return undefined;
    return { bytes, stamp: `${stat.ino} ${stat.size} ${stat.mtimeMs}` };
  } catch {
    return undefined;
  } finally {
    await file?.close();
  }
}

async function stampOf(path: string): Promise<string | undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const { ino, size, mtimeMs } = await file.stat();
    return `${ino} ${size} ${mtimeMs}`;
  } catch {
    return undefined;
  } finally {
    await file?.close();
  }
}
