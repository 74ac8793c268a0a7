import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildEfficientFormerV2 } from './build.ts';

const reading = vectorReading(/^(stages\.\d+\.blocks\.\d+)\./, ['ls2.gamma'], ['mlp.fc1.bn.weight']);

/** timm's EfficientFormerV2. */
export const efficientFormerV2: Family = {
  name: 'efficientformer_v2',
  classes: { 'efficientformer_v2.EfficientFormerV2': buildEfficientFormerV2 },
  takesImageSize: true,
  noWeightDecay: ['attention_biases'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
