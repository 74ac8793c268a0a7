import { measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import { buildPit } from './build.ts';

/** timm's PoolingVisionTransformer. */
export const pit: Family = {
  name: 'pit',
  classes: { 'pit.PoolingVisionTransformer': buildPit },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
};
