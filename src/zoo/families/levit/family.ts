import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildLevit, buildLevitDistilled } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.(?:blocks\.\d+|downsample))\./,
  ['mlp.ln2.bn.weight'],
  ['mlp.ln1.bn.weight'],
);

/** timm's Levit, with Linears or 1x1 convolutions. */
export const levit: Family = {
  name: 'levit',
  classes: { 'levit.Levit': buildLevit, 'levit.LevitDistilled': buildLevitDistilled },
  takesImageSize: true,
  noWeightDecay: ['attention_biases'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
