import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../common/errors.ts';
import { writeFilesWhole } from '../../common/files.node.ts';
import { validated } from '../../common/options.ts';
import { sayingOnce, silent } from '../../common/progress.ts';
import { type BenchmarkFile, benchmark } from '../../measure/latency.node.ts';
import { describeMachine } from '../../measure/machine.node.ts';
import { assertFullPrecision } from '../../quantize/record.ts';
import { chosen } from '../../report/sweep/budget.ts';
import { sweepCsv } from '../../report/sweep/csv.ts';
import { sweepPage } from '../../report/sweep/page.ts';
import { type MeasuredCell, paretoFront, rowsOf, type SweepRow } from '../../report/sweep/rows.ts';
import type { Sweep } from '../../report/sweep/sweep.ts';
import { saveModel } from '../../zoo/save.node.ts';
import type { CommandOptions } from '../commands/command.node.ts';
import { assertClassifier, type Context, localContext, openModelData } from '../context.node.ts';
import { withDirectory } from '../directory-lock.node.ts';
import { modelDigest } from '../model-digest.node.ts';
import { openModel } from '../open.node.ts';
import { fingerprint, RunDirectory } from '../run-directory.node.ts';
import { writeRecord } from '../stages/prune.node.ts';
import { version } from '../version.node.ts';
import {
  inType,
  type KnownScores,
  measureWay,
  prunedTo,
  type SweepGround,
  type Way,
} from './measure-cell.node.ts';
import { type SweepOptions, sweepOptions } from './sweep-options.ts';

/** Every way of pruning that is asked for, importance by importance, so that each is computed once a seed. */
export function waysOf({ ratios, importance, compensate, seeds }: SweepOptions, firstSeed: number): Way[] {
  return Array.from({ length: seeds }, (_, i) => firstSeed + i).flatMap((seed) =>
    importance.flatMap((name) =>
      ratios.flatMap((ratio) =>
        compensate.map((kind): Way => ({ ratio, importance: name, compensate: kind, seed })),
      ),
    ),
  );
}

const denseWay = (seed: number): Way => ({ ratio: 0, importance: 'l1', compensate: 'none', seed });

const folderOf = ({ ratio, importance, compensate, seed }: Way): string =>
  join('ways', ratio === 0 ? 'dense' : `${importance}-${ratio}-${compensate}-${seed}`);

/**
 * Tries every combination of what is asked for, and measures what each leaves: a row each in `sweep.json`, `sweep.csv` and
 * `sweep.html`; the best under a budget is written to `best/`. What was measured is kept, and taken over with `resume`.
 * @throws UserError as `prune` and `quantize`; InterruptedError when the signal fires: what was measured stays
 */
export async function sweepModel(
  reference: string,
  directory: string,
  input: unknown,
  command: CommandOptions & { data: string; resume?: boolean },
): Promise<Sweep> {
  const options = validated(sweepOptions, input);
  if (options.targetLatency !== undefined && options.runs === 0) {
    throw new UserError('--target-latency needs latency: take --runs 0 away');
  }
  return withDirectory(directory, () => run(reference, directory, options, command));
}

async function run(
  reference: string,
  directory: string,
  options: SweepOptions,
  command: CommandOptions & { data: string; resume?: boolean },
): Promise<Sweep> {
  const context = localContext({ ...command, progress: sayingOnce(command.progress ?? silent) });
  const { progress, signal, seed, threads } = context;
  const dense = await openModel(reference, command);
  assertClassifier(dense);
  assertFullPrecision(dense, 'prune');
  const data = await openModelData(dense, command.data, progress, command);
  const ground: SweepGround = { context, dense, data, options };
  const { samples, evalSamples, headDims, dtypes } = options;
  const content = [version, modelDigest(dense), await data.dataset.version?.(), command.data];
  const base = fingerprint(content, samples, evalSamples, headDims, dtypes);
  const runs = new RunDirectory(directory, command.resume ?? false);
  const scores: KnownScores = new Map();
  const files = new Map<string, string>();
  const cells: MeasuredCell[] = [];
  let takenOver = 0;
  const ways = [denseWay(seed), ...waysOf(options, seed)];
  const task = progress.task('sweep', ways.length, 'ways');
  try {
    for (const [i, way] of ways.entries()) {
      signal?.throwIfAborted();
      const name = folderOf(way);
      const measured = await runs.stage<MeasuredCell[]>(
        name,
        fingerprint(base, way),
        (folder) => measureWay(ground, way, dtypes, scores, folder, (shape) => files.has(shape)),
        () => takenOver++,
      );
      for (const { shape, dtype } of measured) {
        const file = join(runs.folder(name), `${dtype}.onnx`);
        if (!files.has(shape) && existsSync(file)) files.set(shape, file);
      }
      cells.push(...measured);
      task.update(i + 1);
    }
  } finally {
    task.done();
  }
  if (takenOver > 0) progress.note(`${takenOver} of ${ways.length} ways taken over from the earlier sweep`);
  const latency = await timed(context, options, files);
  const [denseRow, ...rest] = rowsOf(cells, latency);
  const rows = [...rest];
  const sweep: Sweep = {
    ...{ model: reference, data: command.data, options },
    machine: describeMachine(context.engine.name, threads),
    measuredOn: data.dataset.val.name,
    ...{ dense: denseRow!, rows, front: paretoFront([denseRow!, ...rows]) },
    ...chosen(rows, denseRow!, options),
  };
  if (sweep.best) await writeBest(ground, sweep.best, seed, join(directory, 'best'), scores);
  writeFilesWhole([
    [join(directory, 'sweep.json'), `${JSON.stringify(sweep, null, 2)}\n`],
    [join(directory, 'sweep.csv'), sweepCsv([denseRow!, ...rows])],
    [join(directory, 'sweep.html'), await sweepPage(sweep)],
  ]);
  return sweep;
}

/** Models that are timed side by side: each has a process and its memory. */
const atOnce = 12;

/** The median latency of each shape, in milliseconds. */
async function timed(
  { threads, progress, signal }: Context,
  { runs }: SweepOptions,
  files: ReadonlyMap<string, string>,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  if (runs === 0) return found;
  const all = [...files].map(([name, path]): BenchmarkFile => ({ name, path }));
  for (let i = 0; i < all.length; i += atOnce) {
    const some = all.slice(i, i + atOnce);
    const times = await benchmark(some, { runtime: 'ort', runs, warmup: 5, threads, progress, signal });
    for (const { model, median } of times) found.set(model, median);
  }
  return found;
}

/** Makes the best model once more, and writes it. */
async function writeBest(
  ground: SweepGround,
  { ratio, importance, compensate, dtype }: SweepRow,
  seed: number,
  folder: string,
  scores: KnownScores,
): Promise<void> {
  const { graph, result } = await prunedTo(ground, { ratio, importance, compensate, seed }, scores);
  saveModel(await inType(ground, graph, dtype, seed), folder);
  if (result) writeRecord(result, folder);
}
