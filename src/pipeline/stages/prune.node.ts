import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { readText } from '../../checkpoint/open.node.ts';
import { UserError } from '../../common/errors.ts';
import { writeFileWhole } from '../../common/files.node.ts';
import { parseJsonAs } from '../../common/json.ts';
import { looksAtImages, prune, pruneModelOptions } from '../../library/prune.ts';
import { latencyMeter } from '../../measure/latency-meter.node.ts';
import type { Kept } from '../../prune/apply.ts';
import { precisions } from '../../prune/latency-table.ts';
import type { PruneResult } from '../../prune/prune.ts';
import { type ScoreRecord, scoreRecordSchema } from '../../prune/score-record.ts';
import { version } from '../version.node.ts';
import type { Stage, StageInput } from './stage.ts';

const record = 'pruning.json';

/** Those of the pass, files of scores, and where latencies come from. */
const options = pruneModelOptions.safeExtend({
  precision: z.enum(precisions).optional().meta({
    description:
      'of the model that ships, whose latency counts: int8 with dynamic activation ranges, or fp32; left out: what the table has, else int8',
  }),
  latencyTable: z.string().optional().meta({
    description:
      'latencies that were measured on another device; left out: they are measured on this machine, and kept in the cache folder',
    value: 'file',
  }),
  saveScores: z.string().optional().meta({
    description: 'write what each channel of each group was worth to a JSON file',
    value: 'file',
  }),
  scores: z.string().optional().meta({
    description: 'take importance from such a file, made of the same model, instead of computing it',
    value: 'file',
  }),
});

/** Prunes, and writes `pruning.json`: what was kept, in timm's names and axes. */
export const pruneStage: Stage<typeof options> = {
  name: 'pruned',
  options,
  usesData: (given) => looksAtImages(given, given.scores !== undefined),
  filesRead: ({ scores, latencyTable }) => [scores, latencyTable].filter((file) => file !== undefined),
  async run({ folder, ...run }) {
    const result = await prunedBy(run);
    return { graph: result.graph, files: [writeRecord(result, folder)] };
  },
};

/** The stage, without its file. */
export async function prunedBy({
  context: { engine, seed, threads, progress, signal },
  graph,
  options: { scores: scoreFile, saveScores, precision, latencyTable, ...pass },
  data,
}: Omit<StageInput<PruneRecipe>, 'folder'>): Promise<PruneResult> {
  const scores = scoreFile === undefined ? undefined : readScores(scoreFile);
  const measures = pass.targetLatency !== undefined || pass.roundTo === 'auto';
  const device = { engine, threads, precision, tableFile: latencyTable, version, progress, signal };
  const meter = measures ? latencyMeter(device) : undefined;
  try {
    const given = { ...pass, scores, latency: meter, data: data?.dataset };
    const result = await prune(engine, graph, { ...given, seed, threads, progress });
    if (saveScores !== undefined) writeFileWhole(saveScores, `${JSON.stringify(result.scores)}\n`);
    return result;
  } finally {
    await meter?.close();
  }
}

/** More than any file of scores has, which are a few bytes a channel. */
const largestScores = 2 ** 28;

/** @throws UserError when the file is none of scores; whether they are of this model is seen later */
function readScores(path: string): ScoreRecord {
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes > largestScores) throw new UserError(`${path} is no file of scores: it has ${bytes} bytes`);
  return parseJsonAs(scoreRecordSchema, readText(path), path);
}

/** Writes what was kept into a folder. @returns the file's name there */
export function writeRecord({ ratio, kept, groups, branches, latency }: PruneResult, folder: string): string {
  writeFileWhole(join(folder, record), `${JSON.stringify({ ratio, kept, groups, branches, latency })}\n`);
  return record;
}

export type PruneRecipe = z.output<typeof options>;

const recordSchema = z.looseObject({
  kept: z.record(z.string(), z.record(z.string(), z.array(z.number().int().min(0)))),
});

/**
 * What pruning has kept of the model in a folder; undefined where it does not say.
 * @throws UserError when what it says is damaged
 */
export function keptIn(folder: string): Kept | undefined {
  const path = join(folder, record);
  if (!existsSync(path)) return undefined;
  return parseJsonAs(recordSchema, readFileSync(path, 'utf8'), path).kept;
}
