import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildNextVit } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+)\./,
  ['norm.weight', 'norm2.weight'],
  ['mlp.fc1.bias'],
);

/** timm's NextViT. */
export const nextVit: Family = {
  name: 'nextvit',
  classes: { 'nextvit.NextViT': buildNextVit },
  takesImageSize: false,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
