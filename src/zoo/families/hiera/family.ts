import { measuredBlocks } from '../../blocks-of.ts';
import type { Family, ModelFacts } from '../../family.ts';
import { ratioFor } from '../../infer-transformer.ts';
import { attentionQueryRows } from '../../layers/query-rows.ts';
import { wideningReading } from '../../layers/transformer-reading.ts';
import type { ModelArgs } from '../../model-args.ts';
import { buildHiera } from './build.ts';

/** Widths and heads multiply from stage to stage, so the first block says them all. */
function inferArgs({ blocks }: ModelFacts, given: ModelArgs): ModelArgs | undefined {
  const { embedDim, numHeads, mlpHidden } = blocks[0] ?? {};
  if (!embedDim || !numHeads || !mlpHidden) return undefined;
  return { ...given, embed_dim: embedDim, num_heads: numHeads, mlp_ratio: ratioFor(embedDim, mlpHidden) };
}

/** timm's Hiera. */
export const hiera: Family = {
  name: 'hiera',
  classes: { 'hiera.Hiera': buildHiera },
  takesImageSize: true,
  noWeightDecay: ['pos_embed'],
  blocks: (graph) => measuredBlocks(graph, wideningReading),
  inferArgs,
  queryRows: attentionQueryRows,
};
