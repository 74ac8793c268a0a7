import { measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { inferStageArgs } from '../../infer-stages.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import { layouts } from '../swin-transformer/layouts.ts';
import { buildSwinTransformerV2 } from './build.ts';

/** timm's SwinTransformerV2. Its queries have unit length, so no width is in their scale. */
export const swinTransformerV2: Family = {
  name: 'swin_transformer_v2',
  classes: { 'swin_transformer_v2.SwinTransformerV2': buildSwinTransformerV2 },
  takesImageSize: true,
  noWeightDecay: ['cpb_mlp', 'logit_scale'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
  inferArgs: inferStageArgs,
  layouts,
};
