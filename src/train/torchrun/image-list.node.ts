import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileError } from '../../common/files.node.ts';
import { temporaryFile } from '../../common/leftovers.node.ts';
import type { Progress } from '../../common/progress.ts';
import type { Split } from '../../dataset/dataset.ts';

/** Bytes that are gathered before they are written. */
const pageBytes = 1 << 20;

/** A file that is written piece by piece and appears when it is whole. */
class GrowingFile {
  readonly #path: string;
  readonly #file: FileHandle;
  #pieces: Uint8Array[] = [];
  #gathered = 0;
  /** Bytes given so far. */
  size = 0;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  static async create(path: string): Promise<GrowingFile> {
    return new GrowingFile(path, await open(temporaryFile(path), 'w'));
  }

  async add(bytes: Uint8Array): Promise<void> {
    this.#pieces.push(bytes);
    this.size += bytes.length;
    this.#gathered += bytes.length;
    if (this.#gathered >= pageBytes) await this.#flush();
  }

  async finish(): Promise<void> {
    await this.#flush();
    await this.#file.close();
    await rename(temporaryFile(this.#path), this.#path);
  }

  async giveUp(): Promise<void> {
    await this.#file.close();
    await rm(temporaryFile(this.#path), { force: true });
  }

  async #flush(): Promise<void> {
    const whole = Buffer.concat(this.#pieces);
    for (let at = 0; at < whole.length; ) at += (await this.#file.write(whole, at)).bytesWritten;
    this.#pieces = [];
    this.#gathered = 0;
  }
}

/** What images are listed under which name. */
type Listing = Readonly<Record<string, Split>>;

/**
 * Lists the images of splits, a line of JSON each: `[label, path]`, or `[label, path, offset, size]` for a part of a
 * file. What lies in no file by itself is put into `images.bin`, and has null for a path; pixels that
 * are not encoded have their `[height, width, channels]` behind that.
 * @returns the bytes that were put into `images.bin`
 */
export async function listImages(folder: string, listing: Listing, progress: Progress): Promise<number> {
  const files: GrowingFile[] = [];
  const create = async (name: string) => {
    const file = await GrowingFile.create(join(folder, name));
    files.push(file);
    return file;
  };
  const total = Object.values(listing).reduce((sum, split) => sum + split.length, 0);
  const bar = progress.task('list images', total, 'images');
  let done = 0;
  try {
    const packed = await create('images.bin');
    for (const [name, split] of Object.entries(listing)) {
      const list = await create(name);
      for (let index = 0; index < split.length; index++) {
        const line = [split.label(index), ...(await placeOf(split, index, packed))];
        await list.add(Buffer.from(`${JSON.stringify(line)}\n`));
        bar.update(++done);
      }
    }
    for (const file of files) await file.finish();
    return packed.size;
  } catch (error) {
    for (const file of files) await file.giveUp().catch(() => {});
    throw fileError(error, `can't write the list of images in ${folder}`);
  } finally {
    bar.done();
  }
}

async function placeOf(split: Split, index: number, packed: GrowingFile): Promise<unknown[]> {
  const offset = packed.size;
  if (!split.source) {
    const { data, width, height, channels } = await split.read(index);
    await packed.add(data);
    return [null, offset, data.length, [height, width, channels]];
  }
  const source = await split.source(index);
  if (source instanceof Uint8Array) {
    await packed.add(source);
    return [null, offset, source.length];
  }
  const { path, offset: from, size } = source;
  return from === undefined ? [resolve(path)] : [resolve(path), from, size];
}
