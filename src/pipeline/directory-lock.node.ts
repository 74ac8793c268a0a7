import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { fileError, makeFolder } from '../common/files.node.ts';
import { isRunning, removeLeftovers } from '../common/leftovers.node.ts';

const lockSchema = z.object({ pid: z.number().int(), host: z.string(), since: z.string() });
type Lock = z.output<typeof lockSchema>;

/** Folders in a run directory and below it that a process may have left half-written files in. */
const depth = 2;

/**
 * Does work that must have a directory to itself, and removes what a process that was killed in it left half
 * written. A lock of a process that is gone is taken over; one of another machine never, as it can't be asked.
 * @throws UserError when another process works there, and when the directory can't be written
 */
export async function withDirectory<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const path = join(directory, 'run.lock');
  try {
    makeFolder(directory);
    take(path, directory);
  } catch (error) {
    throw fileError(error, `can't write ${directory}`);
  }
  const release = () => rmSync(path, { force: true });
  process.on('exit', release);
  try {
    removeLeftovers(directory, depth);
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

function take(path: string, directory: string): void {
  const mine: Lock = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  for (let tries = 0; ; tries++) {
    try {
      writeFileSync(path, JSON.stringify(mine), { flag: 'wx' });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || tries > 2) throw error;
    }
    const other = lockIn(path);
    const alive = other && (other.host !== mine.host || (other.pid !== mine.pid && isRunning(other.pid)));
    if (alive) {
      throw new UserError(
        `${directory} is in use by process ${other.pid} on ${other.host} since ${other.since}: wait for it, write to another directory, or remove ${path} if it is gone`,
      );
    }
    rmSync(path, { force: true });
  }
}

/** Who holds a lock; undefined where nobody can be told from it. */
function lockIn(path: string): Lock | undefined {
  try {
    return lockSchema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data;
  } catch {
    return undefined;
  }
}
