import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileWhole } from '../../common/files.node.ts';
import { parseJsonAs } from '../../common/json.ts';
import { looksAtImages, prune, pruneModelOptions } from '../../library/prune.ts';
import type { Kept } from '../../prune/apply.ts';
import type { PruneResult } from '../../prune/prune.ts';
import type { Stage, StageInput } from './stage.ts';

const record = 'pruning.json';

/** Prunes, and writes `pruning.json`: what was kept, in timm's names and axes. */
export const pruneStage: Stage<typeof pruneModelOptions> = {
  name: 'pruned',
  options: pruneModelOptions,
  usesData: looksAtImages,
  async run({ folder, ...run }) {
    const result = await prunedBy(run);
    return { graph: result.graph, files: [writeRecord(result, folder)] };
  },
};

/** The stage, without its file. */
export const prunedBy = ({
  context: { engine, seed, threads, progress },
  graph,
  options,
  data,
}: Omit<StageInput<PruneRecipe>, 'folder'>): Promise<PruneResult> =>
  prune(engine, graph, { ...options, data: data?.dataset, seed, threads, progress });

/** Writes what was kept into a folder. @returns the file's name there */
export function writeRecord({ ratio, kept, groups }: PruneResult, folder: string): string {
  writeFileWhole(join(folder, record), `${JSON.stringify({ ratio, kept, groups })}\n`);
  return record;
}

export type PruneRecipe = z.output<typeof pruneModelOptions>;

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
