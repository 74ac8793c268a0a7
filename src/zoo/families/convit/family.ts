import { measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import { buildConVit } from './build.ts';

/** timm's ConVit. */
export const conVit: Family = {
  name: 'convit',
  classes: { 'convit.ConVit': buildConVit },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
};
