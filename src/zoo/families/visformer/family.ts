import { type BlockReading, firstLength, measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildVisformer } from './build.ts';

/** Convolutions have no biases: their weights say how wide they are. */
const reading: BlockReading = {
  block: /^(stage\d+\.\d+)\./,
  embedDim: (shapeOf) => firstLength(shapeOf, ['norm2.weight']),
  mlpHidden: (shapeOf) => firstLength(shapeOf, ['mlp.conv1.weight']),
};

/** timm's Visformer. */
export const visformer: Family = {
  name: 'visformer',
  classes: { 'visformer.Visformer': buildVisformer },
  takesImageSize: true,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
