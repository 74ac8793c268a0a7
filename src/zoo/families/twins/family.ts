import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildTwins } from './build.ts';

const reading = vectorReading(/^(blocks\.\d+\.\d+)\./, ['norm1.weight'], ['mlp.fc1.bias']);

/** timm's Twins: PCPVT and SVT. */
export const twins: Family = {
  name: 'twins',
  classes: { 'twins.Twins': buildTwins },
  takesImageSize: true,
  noWeightDecay: ['pos_block'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
