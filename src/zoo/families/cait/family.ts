import { type BlockReading, measuredBlocks } from '../../blocks-of.ts';
import type { Family, ModelFacts } from '../../family.ts';
import { inferTransformerArgs, ratioFor } from '../../infer-transformer.ts';
import { attentionQueryRows } from '../../layers/query-rows.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import type { ModelArgs } from '../../model-args.ts';
import { buildCait } from './build.ts';

const reading: BlockReading = { ...transformerReading, block: /^(blocks(?:_token_only)?\.\d+)\./ };

function inferArgs(facts: ModelFacts, given: ModelArgs): ModelArgs | undefined {
  const ofToken = facts.blocks.filter(({ name }) => name.startsWith('blocks_token_only.'));
  const blocks = facts.blocks.filter((block) => !ofToken.includes(block));
  const args = inferTransformerArgs({ ...facts, blocks }, given);
  const { embedDim, mlpHidden } = ofToken[0] ?? {};
  if (!args || !embedDim || !mlpHidden) return args;
  return {
    ...args,
    depth_token_only: ofToken.length,
    mlp_ratio_token_only: ratioFor(embedDim, mlpHidden),
  };
}

/** timm's Cait. */
export const cait: Family = {
  name: 'cait',
  classes: { 'cait.Cait': buildCait },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token'],
  blocks: (graph) => measuredBlocks(graph, reading),
  inferArgs,
  queryRows: attentionQueryRows,
};
