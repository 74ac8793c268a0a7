import { measuredBlocks } from '../../blocks-of.ts';
import type { Family, ModelFacts } from '../../family.ts';
import { ratioFor } from '../../infer-transformer.ts';
import { moduleRows, type RowRange } from '../../layers/query-rows.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { StateShapes } from '../../state.ts';
import { buildGcvit } from './build.ts';

/**
 * The first block's width and hidden units. timm's entry points of the sizes with a layer scale refuse to be given
 * either, and all refuse depths and num_heads.
 */
function inferArgs({ state, blocks }: ModelFacts, given: ModelArgs): ModelArgs | undefined {
  const { embedDim, mlpHidden } = blocks[0] ?? {};
  const fixed = state.has('stages.0.blocks.0.ls1.gamma') && !('layer_scale' in given);
  if (fixed || !embedDim || !mlpHidden) return undefined;
  return { ...given, embed_dim: embedDim, mlp_ratio: ratioFor(embedDim, mlpHidden) };
}

/** The queries, or the keys where the queries are those of the whole image: a factor may go into either. */
function queryRows(state: StateShapes, attention: string): RowRange[] {
  const [rows, columns] = state.get(`${attention}.qkv.weight`) ?? [];
  if (rows === undefined || columns === undefined) return [];
  const parts = Math.round(rows / columns);
  return moduleRows(state, `${attention}.qkv`, (count) => [0, count / parts]);
}

/** timm's GlobalContextVit. */
export const gcvit: Family = {
  name: 'gcvit',
  classes: { 'gcvit.GlobalContextVit': buildGcvit },
  takesImageSize: true,
  noWeightDecay: ['relative_position_bias_table'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
  inferArgs,
  queryRows,
};
