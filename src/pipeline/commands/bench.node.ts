import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { exportModelFile } from '../../export/export-file.node.ts';
import { formatsOf, runtimeNamed } from '../../export/formats.node.ts';
import { type BenchmarkFile, benchmark, type Latency } from '../../measure/latency.node.ts';
import { localContext } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import type { CommandOptions } from './command.node.ts';

/**
 * Latency of models, interleaved. A file that the runtime loads is timed as it is; a folder or checkpoint
 * in the form that would be deployed there.
 * @param options.engine integer engine of the runtime
 */
export async function benchModels(
  references: readonly string[],
  options: CommandOptions & {
    runtime: string;
    engine?: string;
    runs: number;
    warmup: number;
    batchSize: number;
  },
): Promise<Latency[]> {
  const { runtime, engine, runs, warmup, batchSize: batch, threads, signal } = options;
  const context = localContext(options);
  const loaded = formatsOf(runtimeNamed(runtime));
  const [deployed] = loaded;
  const scratch = mkdtempSync(join(tmpdir(), 'pqv-bench-'));
  try {
    const files: BenchmarkFile[] = [];
    for (const [i, reference] of references.entries()) {
      let path = reference;
      if (!loaded.some(({ extension }) => extension === extname(reference))) {
        path = join(scratch, `${i}${deployed!.extension}`);
        await exportModelFile(context.engine, await openModel(reference), deployed!.name, path);
      }
      files.push({ name: reference, path });
    }
    const settings = engine ? { engine } : undefined;
    const { progress } = context;
    return await benchmark(files, { runtime, runs, warmup, threads, batch, settings, progress, signal });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
