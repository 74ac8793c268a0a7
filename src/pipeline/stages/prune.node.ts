import { join } from 'node:path';
import type { z } from 'zod';
import { writeFileWhole } from '../../common/files.node.ts';
import { prune, pruneModelOptions, ranksByImages } from '../../library/prune.ts';
import type { Stage } from './stage.ts';

/** Prunes, and writes `pruning.json`: what was kept, in timm's names and axes. */
export const pruneStage: Stage<typeof pruneModelOptions> = {
  name: 'pruned',
  options: pruneModelOptions,
  usesData: ranksByImages,
  async run({ context: { engine, seed, threads, progress }, graph, options, data, folder }) {
    const result = await prune(engine, graph, { ...options, data: data?.dataset, seed, threads, progress });
    const { ratio, kept, groups } = result;
    writeFileWhole(join(folder, 'pruning.json'), `${JSON.stringify({ ratio, kept, groups })}\n`);
    return { graph: result.graph, files: ['pruning.json'] };
  },
};

export type PruneRecipe = z.output<typeof pruneModelOptions>;
