import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildCoat } from './build.ts';

/** Of a block of several scales the first, of which the others have the sizes. */
const reading = vectorReading(
  /^((?:serial_blocks\d|parallel_blocks)\.\d+)\./,
  ['norm1.weight', 'norm12.weight'],
  ['mlp.fc1.bias', 'mlp2.fc1.bias'],
);

/** timm's CoaT and CoaT-Lite. */
export const coat: Family = {
  name: 'coat',
  classes: { 'coat.CoaT': buildCoat },
  takesImageSize: true,
  noWeightDecay: ['cls_token1', 'cls_token2', 'cls_token3', 'cls_token4'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
