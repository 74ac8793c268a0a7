import { Header, Pax } from 'tar';
import { UserError } from '../common/errors.ts';
import { FileReader } from '../common/files.node.ts';

/** A file in an archive. */
export interface TarEntry {
  readonly path: string;
  /** Where its bytes begin in the archive. */
  readonly offset: number;
  readonly size: number;
}

const block = 512;
/** Read at once: small files lie many to such a stretch, large ones are leapt over. */
const stretch = 64 * 2 ** 10;
/** The largest header that says what did not fit into a block: a long path. */
const longestHeader = 2 ** 20;

/** An archive being listed. */
export class TarReader {
  readonly #file: FileReader;
  #start = 0;
  #buffer: Uint8Array = new Uint8Array(0);

  /** @throws UserError when it can't be read */
  constructor(readonly path: string) {
    this.#file = new FileReader(path);
  }

  /** Bytes of it. @throws UserError when it ends before */
  read(offset: number, length: number): Uint8Array {
    if (offset < this.#start || offset + length > this.#start + this.#buffer.length) {
      const wanted = Math.max(length, Math.min(stretch, this.#file.size - offset));
      this.#buffer = this.#file.read(offset, wanted);
      this.#start = offset;
    }
    return this.#buffer.subarray(offset - this.#start, offset - this.#start + length);
  }

  /**
   * Its regular files in their order: headers are read, contents leapt over.
   * @throws UserError when it is damaged, cut off, or no tar
   */
  *entries(): Generator<TarEntry> {
    let [local, shared]: [Pax | undefined, Pax | undefined] = [undefined, undefined];
    for (let at = 0; at + block <= this.#file.size; ) {
      const header: Header = new Header(Buffer.from(this.read(at, block)), 0, local, shared);
      if (header.nullBlock) return;
      const { type } = header;
      const size: number = header.size ?? 0;
      if (!header.cksumValid || !(Number.isSafeInteger(size) && size >= 0)) {
        throw new UserError(`${this.path} is damaged or no tar archive (at byte ${at}); write it again`);
      }
      const offset = at + block;
      if (offset + size > this.#file.size) {
        throw new UserError(`${this.path} is cut off: ${header.path} ends behind it; fetch it again`);
      }
      at = offset + Math.ceil(size / block) * block;
      if (type === 'ExtendedHeader' || type === 'OldExtendedHeader') {
        local = Pax.parse(this.#text(offset, size), local);
      } else if (type === 'GlobalExtendedHeader') {
        shared = Pax.parse(this.#text(offset, size), shared, true);
      } else if (type === 'NextFileHasLongPath') {
        local = Object.assign(new Pax({}), local, { path: this.#text(offset, size).replace(/\0.*/s, '') });
      } else {
        if (type === 'File' || type === 'OldFile' || type === 'ContiguousFile') {
          yield { path: header.path ?? '', offset, size };
        }
        local = undefined;
      }
    }
  }

  #text(offset: number, size: number): string {
    if (size > longestHeader) throw new UserError(`${this.path}: a path of ${size} bytes at byte ${offset}`);
    return new TextDecoder().decode(this.read(offset, size));
  }

  close(): void {
    this.#file.close();
  }
}
