import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildShVit } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+)\./,
  ['ffn.m.pw2.bn.weight'],
  ['ffn.m.pw1.bn.weight'],
);

/** timm's SHViT. */
export const shVit: Family = {
  name: 'shvit',
  classes: { 'shvit.SHViT': buildShVit },
  takesImageSize: false,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
