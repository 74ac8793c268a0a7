import { measuredBlocks, transformerReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildPit } from './build.ts';

/** timm's PoolingVisionTransformer. */
export const pit: Family = {
  name: 'pit',
  classes: { 'pit.PoolingVisionTransformer': buildPit },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
};
