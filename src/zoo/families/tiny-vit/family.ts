import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildTinyVit } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+)\./,
  ['mlp.norm.weight', 'conv3.bn.weight'],
  ['mlp.fc1.bias', 'conv1.bn.weight'],
);

/** timm's TinyVit. */
export const tinyVit: Family = {
  name: 'tiny_vit',
  classes: { 'tiny_vit.TinyVit': buildTinyVit },
  takesImageSize: false,
  noWeightDecay: ['attention_biases'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
