import { extname } from 'node:path';
import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { formatsOf, runtimeNamed } from '../export/formats.node.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { LatencyWorker } from './latency-worker.node.ts';
import { quantile } from './quantile.ts';

export interface BenchmarkOptions {
  /** Name of what runs them: that of a format's runtime. */
  runtime: string;
  /** Timed runs of each model. */
  runs: number;
  /** Untimed runs of each model before the first timed one. */
  warmup: number;
  /** Threads inside one operator. */
  threads: number;
  /** Images a run; default 1. */
  batch?: number;
  /** `[C, H, W]`; default: what the file says. */
  inputShape?: readonly number[];
  /** Settings of the runtime's child. */
  settings?: Readonly<Record<string, string>>;
  progress?: Progress;
  /** Kills the children and rejects with its reason. */
  signal?: AbortSignal;
}

export interface BenchmarkFile {
  /** What results call it. */
  readonly name: string;
  readonly path: string;
  /** Where they differ from the benchmark's. */
  readonly runtime?: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** Environment of its process, over ours. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Latency {
  readonly model: string;
  readonly runtime: string;
  /** Name and version of what ran it. */
  readonly engine: string;
  readonly threads: number;
  readonly batch: number;
  /** Milliseconds of one run. */
  readonly median: number;
  readonly p95: number;
  readonly runs: number;
  /** Largest resident memory of the process that ran only this model, the runtime itself included. */
  readonly peakRssBytes: number;
}

/**
 * Times models side by side. Each has a process of its own, so that its peak memory is its own; the
 * timed runs go round over the models, one each, so that a disturbance of the machine meets all of
 * them. Before each timed run the model runs once untimed: its weights and threads come back into the
 * caches that the others had.
 * @throws UserError when a model can't be loaded or its process dies, naming the file
 */
export async function benchmark(
  files: readonly BenchmarkFile[],
  options: BenchmarkOptions,
): Promise<Latency[]> {
  const { runs, warmup, threads, batch = 1, progress = silent, signal } = options;
  const runtimes = files.map((file) => runtimeNamed(file.runtime ?? options.runtime));
  for (const [i, { path }] of files.entries()) assertLoads(runtimes[i]!, path);
  signal?.throwIfAborted();
  const commands = new Map([...new Set(runtimes)].map((runtime) => [runtime, runtime.command()]));
  const workers = files.map((file, i) => {
    const command = commands.get(runtimes[i]!)!;
    return new LatencyWorker({ ...command, env: { ...command.env, ...file.env } }, file.path);
  });
  const kill = () => {
    for (const worker of workers) worker.kill();
  };
  process.on('exit', kill);
  signal?.addEventListener('abort', kill);
  const task = progress.task('benchmark', runs * files.length, 'runs');
  try {
    const engines: string[] = [];
    for (const [i, worker] of workers.entries()) {
      const settings = files[i]!.settings ?? options.settings;
      const { engine } = await worker.ask<'load'>({
        op: 'load',
        path: worker.path,
        threads,
        batch,
        inputShape: options.inputShape,
        settings,
      });
      engines.push(engine);
      await worker.ask<'run'>({ op: 'run', untimed: warmup, timed: 0 });
    }
    const times: number[][] = workers.map(() => []);
    for (let round = 0, done = 0; round < runs; round++) {
      for (const [i, worker] of workers.entries()) {
        const { milliseconds } = await worker.ask<'run'>({ op: 'run', untimed: 1, timed: 1 });
        times[i]!.push(...milliseconds);
        task.update(++done);
      }
    }
    const results: Latency[] = [];
    for (const [i, worker] of workers.entries()) {
      const { peakRssBytes } = await worker.ask<'memory'>({ op: 'memory' });
      results.push({
        model: files[i]!.name,
        runtime: runtimes[i]!.name,
        engine: engines[i]!,
        threads,
        batch,
        median: quantile(times[i]!, 0.5),
        p95: quantile(times[i]!, 0.95),
        runs,
        peakRssBytes,
      });
    }
    return results;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    task.done();
    process.off('exit', kill);
    signal?.removeEventListener('abort', kill);
    await Promise.all(workers.map((worker) => worker.stop()));
  }
}

/** @throws UserError when the file is none of those that the runtime loads */
function assertLoads(runtime: Runtime, path: string): void {
  const extensions = formatsOf(runtime).map(({ extension }) => extension as string);
  if (extensions.includes(extname(path))) return;
  throw new UserError(`${path}: the runtime ${runtime.name} takes ${extensions.join(' and ')} files`);
}
