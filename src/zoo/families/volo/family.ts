import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildVolo } from './build.ts';

const reading = vectorReading(/^(network\.\d+\.\d+|post_network\.\d+)\./, ['norm1.weight'], ['mlp.fc1.bias']);

/** timm's VOLO. Its entry points refuse other layers, embed_dims and num_heads, so a pruned one has no arguments. */
export const volo: Family = {
  name: 'volo',
  classes: { 'volo.VOLO': buildVolo },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
