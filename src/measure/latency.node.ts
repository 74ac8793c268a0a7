import { extname, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { findPython } from '../runtime/python.node.ts';
import { pytorchChild } from './latency-child-pytorch.ts';
import { LatencyWorker, type WorkerCommand } from './latency-worker.node.ts';
import { quantile } from './quantile.ts';

/** Something models can be timed on: which files it takes, and how to start its child process. */
export interface LatencyRuntime {
  readonly extensions: readonly string[];
  /** @throws UserError when it isn't installed */
  command(): WorkerCommand;
}

/** The runtimes by name. Each one's child speaks the protocol in `latency-protocol.ts`. */
export const latencyRuntimes = {
  ort: {
    extensions: ['.onnx', '.ort'],
    command: () => ({
      file: process.execPath,
      args: [builtScript(new URL('./latency-child.node.ts', import.meta.url))],
    }),
  },
  pytorch: {
    extensions: ['.pt', '.ptl'],
    command: () => ({ file: findPython('torch'), args: ['-c', pytorchChild] }),
  },
} satisfies Record<string, LatencyRuntime>;

export type LatencyRuntimeName = keyof typeof latencyRuntimes;

export interface BenchmarkOptions {
  runtime: LatencyRuntimeName;
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
  readonly runtime?: LatencyRuntimeName;
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
  const runtimeOf = (file: BenchmarkFile) => file.runtime ?? options.runtime;
  for (const file of files) {
    const { extensions }: LatencyRuntime = latencyRuntimes[runtimeOf(file)];
    if (!extensions.includes(extname(file.path))) {
      throw new UserError(
        `${file.path}: the runtime ${runtimeOf(file)} takes ${extensions.join(' and ')} files`,
      );
    }
  }
  signal?.throwIfAborted();
  const commands = new Map<LatencyRuntimeName, WorkerCommand>(
    [...new Set(files.map(runtimeOf))].map((name) => [name, latencyRuntimes[name].command()]),
  );
  const workers = files.map((file) => {
    const command = commands.get(runtimeOf(file))!;
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
        ...(options.inputShape ? { inputShape: options.inputShape } : {}),
        ...(settings ? { settings } : {}),
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
        runtime: runtimeOf(files[i]!),
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

/** The compiled form of a script of ours: a child process can't run the TypeScript that tests run from. */
export function builtScript(source: URL): string {
  const path = fileURLToPath(source);
  if (import.meta.url.endsWith('.js')) return path.replace(/\.ts$/, '.js');
  const [from, to] = [`${sep}src${sep}`, `${sep}dist${sep}`];
  const at = path.lastIndexOf(from);
  return path.slice(0, at) + to + path.slice(at + from.length).replace(/\.ts$/, '.js');
}
