import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** What a process writes under before it is whole: a file `NAME.PID.tmp`, a folder `.NAME.PID.xxxxxx`. */
export const temporaryFile = (path: string): string => `${path}.${process.pid}.tmp`;
/** Beginning of the name of a folder, for `mkdtemp`. */
export const temporaryFolder = (name: string): string => `.${name}.${process.pid}.`;

const patterns = [/\.(\d+)\.tmp$/, /^\..+\.(\d+)\.[A-Za-z0-9]{6}$/];

/**
 * Removes what processes that are gone left half written.
 * @param depth folders below to look into
 */
export function removeLeftovers(folder: string, depth = 0): void {
  for (const entry of entriesOf(folder)) {
    const path = join(folder, entry.name);
    const pid = patterns.map((pattern) => pattern.exec(entry.name)?.[1]).find((match) => match !== undefined);
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(path, { recursive: true, force: true });
    else if (depth > 0 && entry.isDirectory()) removeLeftovers(path, depth - 1);
  }
}

function entriesOf(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return []; // not there yet, or not ours to read: nothing of ours is in it
  }
}

/** Whether a process of this machine is there. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
