import { join } from 'node:path';
import type { z } from 'zod';
import { writeFileWhole } from '../../common/files.node.ts';
import { prune, pruneOptions } from '../../prune/prune.ts';
import { samplesOption, someImages } from './images.node.ts';
import { remember, type Stage } from './stage.ts';

const options = pruneOptions.safeExtend({
  samples: samplesOption(256, 'training images that taylor and hessian look at'),
});

/** Prunes, and writes `pruning.json`: what was kept, in timm's names and axes. */
export const pruneStage: Stage<typeof options> = {
  name: 'pruned',
  options,
  usesData: ({ importance }) => importance === 'taylor' || importance === 'hessian',
  async run({ context, graph, options: { samples, ...options }, data, folder }) {
    const { engine, seed, threads, progress } = context;
    const { importance, heads } = options;
    const images = data && someImages(context, data, samples);
    const result = await prune(engine, graph, { ...options, seed, threads }, images, progress);
    const { ratio, kept, groups } = result;
    const amount = [ratio > 0 && `ratio ${ratio}`, heads > 0 && `heads ${heads}`].filter(Boolean);
    remember(result.graph, `pruned: ${importance}, ${amount.join(', ')}`);
    writeFileWhole(join(folder, 'pruning.json'), `${JSON.stringify({ ratio, kept, groups })}\n`);
    return { graph: result.graph, files: ['pruning.json'] };
  },
};

export type PruneRecipe = z.output<typeof options>;
