import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildNest } from './build.ts';

const reading = vectorReading(
  /^(levels\.\d+\.transformer_encoder\.\d+)\./,
  ['norm1.weight'],
  ['mlp.fc1.bias'],
);

/**
 * timm's Nest. Its positions are decayed: timm means to leave them out, under a name they do not have. Its entry
 * points refuse other embed_dims, num_heads and depths, so a pruned one has no arguments.
 */
export const nest: Family = {
  name: 'nest',
  classes: { 'nest.Nest': buildNest },
  takesImageSize: true,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
