import { measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { inferStageArgs } from '../../infer-stages.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import { buildSwinTransformerV2Cr } from './build.ts';

/** timm's SwinTransformerV2Cr. Its queries have unit length, so no width is in their scale. */
export const swinTransformerV2Cr: Family = {
  name: 'swin_transformer_v2_cr',
  classes: { 'swin_transformer_v2_cr.SwinTransformerV2Cr': buildSwinTransformerV2Cr },
  takesImageSize: true,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
  inferArgs: inferStageArgs,
};
