import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildFastVit } from './build.ts';

const reading = vectorReading(/^(stages\.\d+\.blocks\.\d+)\./, ['mlp.conv.bn.weight'], ['mlp.fc1.bias']);

/** timm's FastVit. */
export const fastVit: Family = {
  name: 'fastvit',
  classes: { 'fastvit.FastVit': buildFastVit },
  takesImageSize: false,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
