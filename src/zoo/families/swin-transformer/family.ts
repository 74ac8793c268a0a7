import { measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { inferStageArgs } from '../../infer-stages.ts';
import { attentionQueryRows } from '../../layers/query-rows.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import { buildSwinTransformer } from './build.ts';
import { layouts } from './layouts.ts';

/** timm's SwinTransformer. */
export const swinTransformer: Family = {
  name: 'swin_transformer',
  classes: { 'swin_transformer.SwinTransformer': buildSwinTransformer },
  takesImageSize: true,
  noWeightDecay: ['relative_position_bias_table'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
  inferArgs: inferStageArgs,
  queryRows: attentionQueryRows,
  layouts,
};
