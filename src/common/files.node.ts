import {
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { UserError } from './errors.ts';
import { temporaryFile } from './leftovers.node.ts';

/**
 * Makes a folder and those above it that are missing. One by one: where the system refuses with "no such
 * file" (/proc), Node's recursive mkdir tries for ever.
 * @throws the system's error
 */
export function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  mkdirSync(path);
}

/** What a file is to hold; pieces are made as they are written. */
export type Content = string | Uint8Array | Iterable<Uint8Array>;

/**
 * Writes a file so that it appears whole or not at all: under a temporary name beside it, renamed at
 * the end. Missing folders are made.
 * @throws UserError when the disk is full or the place can't be written
 */
export const writeFileWhole = (path: string, content: Content): void => writeFilesWhole([[path, content]]);

/**
 * Writes files that belong together: none takes its place before all are written.
 * @throws UserError when the disk is full or a place can't be written; what was there before is there still
 */
export function writeFilesWhole(files: readonly (readonly [path: string, content: Content])[]): void {
  const written: string[] = [];
  try {
    for (const [path, content] of files) {
      assertReplaceable(path);
      writing(path, () => {
        makeFolder(dirname(path));
        const temporary = temporaryFile(path);
        const descriptor = openSync(temporary, 'w');
        written.push(temporary);
        try {
          writePieces(descriptor, content);
        } finally {
          closeSync(descriptor);
        }
      });
    }
    for (const [path] of files) writing(path, () => renameSync(temporaryFile(path), path));
  } catch (error) {
    for (const temporary of written) rmSync(temporary, { force: true });
    throw error;
  }
}

function writing(path: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    throw fileError(error, `can't write ${path}`);
  }
}

function writePieces(descriptor: number, content: Content): void {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  for (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
    for (let at = 0; at < piece.length; ) at += writeSync(descriptor, piece, at, piece.length - at);
  }
}

/**
 * A device or a pipe would be gone, a regular file in its place.
 * @throws UserError when something that is no file is there
 */
export function assertReplaceable(path: string): void {
  let there: Stats | undefined;
  try {
    there = lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw fileError(error, `can't write ${path}`);
  }
  if (there && !there.isFile() && !there.isSymbolicLink() && !there.isDirectory()) {
    throw new UserError(`can't write ${path}: it is a device or a pipe, not a file`);
  }
}

/** What the system says about a file as a UserError; anything else is passed on. */
export function fileError(error: unknown, what: string): unknown {
  const reasons: Record<string, string> = {
    ENOENT: 'no such file or folder',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the file system is read-only',
    EISDIR: 'it is a folder',
    ENOTDIR: 'a part of the path is not a folder',
    ENOSPC: 'the disk is full',
    EDQUOT: 'the disk quota is used up',
    EFBIG: 'the file is too large for the file system',
    EEXIST: 'something of that name exists',
    ENAMETOOLONG: 'the name is too long',
    ELOOP: 'links that lead in a circle',
    EIO: 'the disk fails',
    EMFILE: 'too many files are open',
    ENXIO: 'it is no file',
    EPIPE: 'the reader went away',
  };
  const reason = reasons[(error as NodeJS.ErrnoException)?.code ?? ''];
  return reason ? new UserError(`${what}: ${reason}`, (error as NodeJS.ErrnoException).path) : error;
}

/**
 * Only regular files are read: a pipe or a device may never end.
 * @throws UserError on anything else that is there; the system's error when nothing is
 */
export function refuseDevices(path: string): void {
  const stat = statSync(path);
  if (stat.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
  if (!stat.isFile()) throw new UserError(`can't read ${path}: it is not a regular file`);
}

/** Bytes of a file that is taken into memory at most. */
const mostInMemory = 2 ** 31 - 1;

/** All of a file. @throws UserError when it can't be read, or has more than 2 GB */
export function readWholeFile(path: string): Uint8Array {
  const file = new FileReader(path);
  try {
    if (file.size > mostInMemory) throw new UserError(`can't read ${path}: it has more than 2 GB`);
    return file.read(0, file.size);
  } finally {
    file.close();
  }
}

/** A file open for reading at any place. Reads are checked against its size. */
export class FileReader {
  readonly path: string;
  readonly size: number;
  readonly #descriptor: number;

  /** @throws UserError when there is no such file or it can't be read */
  constructor(path: string) {
    this.path = path;
    try {
      // Before it is opened: to open a pipe waits for whoever writes into it.
      refuseDevices(path);
      this.#descriptor = openSync(path, 'r');
      this.size = fstatSync(this.#descriptor).size;
    } catch (error) {
      throw fileError(error, `can't read ${path}`);
    }
  }

  /** @throws UserError when the file is shorter than that */
  read(offset: number, length: number): Uint8Array {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new UserError(
        `${this.path} is truncated: bytes ${offset} to ${offset + length} are wanted, it has ${this.size}`,
      );
    }
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const got = readSync(this.#descriptor, bytes, at, Math.min(length - at, 1 << 30), offset + at);
      if (got === 0) throw new UserError(`${this.path} was truncated while it was read`);
      at += got;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
