import { createHash, type Hash } from 'node:crypto';
import { closeSync, createReadStream, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { UserError } from '../../common/errors.ts';
import { fileError } from '../../common/files.node.ts';
import type { ProgressTask } from '../../common/progress.ts';
import { ask, bytesOf, PassingError, refusal } from './request.ts';

/** A file of the Hub that is to be had. */
export interface RemoteFile {
  readonly address: string;
  /** What it is, in messages. */
  readonly what: string;
  /** Bytes. */
  readonly size: number;
  /** The sha256 of its bytes, or the name that git has for it; anything else can't be checked. */
  readonly etag: string;
  readonly token: string | undefined;
}

export interface DownloadOptions {
  readonly timeout: number;
  readonly task: ProgressTask;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Downloads a file to its end: what an earlier try left in `PATH.incomplete` is kept, and the whole is checked
 * before it appears under its name.
 * @throws PassingError when it broke off, to be tried again; UserError when it is refused, or is not what it says
 */
export async function download(file: RemoteFile, path: string, options: DownloadOptions): Promise<void> {
  const partial = `${path}.incomplete`;
  try {
    await fill(file, partial, options);
    const found = statSync(partial).size;
    if (found < file.size) throw new PassingError(`${file.what} broke off at ${found} of ${file.size} bytes`);
    if (found > file.size || !(await isWhole(partial, file))) {
      rmSync(partial, { force: true });
      throw new DamagedError(`${file.what} is damaged: what came does not match its checksum`);
    }
    renameSync(partial, path);
  } catch (error) {
    throw fileError(error, `can't write ${partial}`);
  }
}

/** A file came to its end and was not what it should be. */
export class DamagedError extends UserError {}

/** Fetches what is missing of a file. */
async function fill(
  file: RemoteFile,
  partial: string,
  { timeout, task, signal }: DownloadOptions,
): Promise<void> {
  let have = statSync(partial, { throwIfNoEntry: false })?.size ?? 0;
  if (have > file.size) {
    rmSync(partial);
    have = 0;
  }
  if (have === file.size && have > 0) return;
  const response = await ask(file.address, {
    method: 'GET',
    token: file.token,
    headers: have ? { range: `bytes=${have}-` } : {},
    timeout,
    signal,
    leave: true,
  });
  if (!response.ok) throw refusal(response, file.what);
  const resumed = response.status === 206 && startOf(response) === have;
  const descriptor = openSync(partial, resumed && have ? 'a' : 'w');
  try {
    let done = resumed ? have : 0;
    for await (const bytes of bytesOf(response, timeout, signal)) {
      if (done + bytes.length > file.size) throw new DamagedError(`${file.what} is longer than it should be`);
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
      done += bytes.length;
      task.update(megabytes(done));
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Where a partial answer begins in the file. */
const startOf = (response: Response): number =>
  Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? Number.NaN);

export const megabytes = (bytes: number): number => Math.ceil(bytes / 1e6);

/** Whether a file is what its etag says; where that is no checksum, its size is all there is to go by. */
async function isWhole(path: string, { etag, size }: RemoteFile): Promise<boolean> {
  const hash = hashFor(etag, size);
  if (!hash) return true;
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest('hex') === etag;
}

function hashFor(etag: string, size: number): Hash | undefined {
  if (/^[0-9a-f]{64}$/.test(etag)) return createHash('sha256');
  return /^[0-9a-f]{40}$/.test(etag) ? createHash('sha1').update(`blob ${size}\0`) : undefined;
}
