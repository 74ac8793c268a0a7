import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { UserError } from '../../common/errors.ts';
import { findPython } from '../../runtime/python.node.ts';
import { eventIn, type TrainerEvent } from './events.ts';
import { jobFiles } from './job-folder.node.ts';
import type { TorchrunOptions } from './torchrun-options.ts';

/** Restarts of all processes after one of them died, if the user says nothing else. */
const restarts = 3;

/** The arguments of `torchrun` for a job. @throws UserError when machines are not told where to meet */
export function torchrunArguments(folder: string, options: Omit<TorchrunOptions, 'engine'>): string[] {
  const { nprocPerNode, nnodes, engineArgs, amp } = options;
  const given = engineArgs.split(/\s+/).filter((word) => word !== '');
  const says = (name: string) => given.some((word) => word.replaceAll('_', '-').startsWith(`--${name}`));
  const meets = says('rdzv') || says('standalone') || says('master-addr');
  if (nnodes > 1 && !meets) {
    throw new UserError(
      `${nnodes} machines must be told where they meet: --engine-args "--rdzv-backend c10d --rdzv-endpoint HOST:29500"`,
    );
  }
  return [
    ...['--nproc-per-node', `${nprocPerNode}`, '--nnodes', `${nnodes}`],
    ...(meets ? [] : ['--standalone']),
    ...(says('max-restarts') ? [] : ['--max-restarts', `${restarts}`]),
    ...given,
    ...[join(folder, 'trainer', 'train.py'), folder, '--amp', amp],
  ];
}

export interface Launch {
  readonly folder: string;
  readonly options: Omit<TorchrunOptions, 'engine'>;
  /** Threads that all processes of this machine share. */
  readonly threads: number;
  readonly signal: AbortSignal | undefined;
  /** Told everything that the trainer tells. */
  readonly tell: (event: TrainerEvent) => void;
}

/**
 * Runs `torchrun` on a job until it ends. What else it prints goes to `torchrun.log` in the folder. When the signal
 * fires, the trainer is asked to write a checkpoint and to end.
 * @returns the last event of the trainer
 * @throws UserError when there is no Python with torch, or the training fails: with the trainer's own words
 */
export async function launch({ folder, options, threads, signal, tell }: Launch): Promise<TrainerEvent> {
  const python = findPython('torch');
  const args = ['-m', 'torch.distributed.run', ...torchrunArguments(folder, options)];
  const logPath = join(folder, 'torchrun.log');
  const log = openSync(logPath, 'w');
  const each = Math.max(1, Math.floor(threads / options.nprocPerNode));
  const child = spawn(python, args, {
    detached: true, // a Ctrl-C is ours: the trainer is asked to stop between two steps
    stdio: ['ignore', 'pipe', log],
    env: { ...process.env, OMP_NUM_THREADS: `${each}`, PQV_STARTER: `${hostname()}:${process.pid}` },
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const stop = () => writeFileSync(join(folder, jobFiles.stop), '');
  const kill = () => child.kill('SIGTERM');
  signal?.addEventListener('abort', stop);
  process.on('exit', kill);
  let last: TrainerEvent | undefined;
  try {
    if (signal?.aborted) stop();
    for await (const line of createInterface({ input: child.stdout! })) {
      const event = eventIn(line);
      if (!event) writeSync(log, `${line}\n`);
      else {
        last = event;
        tell(event);
        if (event.event === 'failed') kill();
      }
    }
    const status = await ended;
    if (last?.event === 'failed') throw new UserError(last.message);
    if (last?.event === 'done' || last?.event === 'stopped') return last;
    throw new UserError(`torchrun ended with ${status}: ${lastWords(logPath)} (all of it: ${logPath})`);
  } finally {
    process.off('exit', kill);
    signal?.removeEventListener('abort', stop);
    closeSync(log);
  }
}

/** The last error that a log tells of. */
function lastWords(path: string): string {
  const lines = readFileSync(path, 'utf8').split('\n');
  const error = lines.findLast(
    (line) => /^(\[rank\d+\]: )?[\w.]*(Error|Exception)\b/.test(line) && !line.includes('ChildFailedError'),
  );
  return (error ?? lines.findLast((line) => line.trim() !== '') ?? 'it said nothing').trim().slice(0, 300);
}
