import { measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { wideningReading } from '../../layers/transformer-reading.ts';
import { buildMvitv2 } from './build.ts';

/** timm's MultiScaleVit. Its entry points have their `model_cfg` by name, so a pruned one has no arguments. */
export const mvitv2: Family = {
  name: 'mvitv2',
  classes: { 'mvitv2.MultiScaleVit': buildMvitv2 },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'rel_pos_h', 'rel_pos_w', 'cls_token'],
  blocks: (graph) => measuredBlocks(graph, wideningReading),
};
