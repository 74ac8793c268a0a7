import { measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { inferTransformerArgs } from '../../infer-transformer.ts';
import { attentionQueryRows } from '../../layers/query-rows.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import { buildBeit } from './build.ts';

/** timm's Beit: BEiT and BEiT v2. */
export const beit: Family = {
  name: 'beit',
  classes: { 'beit.Beit': buildBeit },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token', 'relative_position_bias_table'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
  inferArgs: inferTransformerArgs,
  queryRows: attentionQueryRows,
};
