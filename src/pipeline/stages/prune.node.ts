import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileWhole } from '../../common/files.node.ts';
import { parseJsonAs } from '../../common/json.ts';
import { prune, pruneModelOptions, ranksByImages } from '../../library/prune.ts';
import type { Kept } from '../../prune/apply.ts';
import type { Stage } from './stage.ts';

const record = 'pruning.json';

/** Prunes, and writes `pruning.json`: what was kept, in timm's names and axes. */
export const pruneStage: Stage<typeof pruneModelOptions> = {
  name: 'pruned',
  options: pruneModelOptions,
  usesData: ranksByImages,
  async run({ context: { engine, seed, threads, progress }, graph, options, data, folder }) {
    const result = await prune(engine, graph, { ...options, data: data?.dataset, seed, threads, progress });
    const { ratio, kept, groups } = result;
    writeFileWhole(join(folder, record), `${JSON.stringify({ ratio, kept, groups })}\n`);
    return { graph: result.graph, files: [record] };
  },
};

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
