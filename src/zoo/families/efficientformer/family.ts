import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildEfficientFormer } from './build.ts';

const reading = vectorReading(/^(stages\.\d+\.blocks\.\d+)\./, ['ls2.gamma'], ['mlp.fc1.bias']);

/** timm's EfficientFormer. */
export const efficientFormer: Family = {
  name: 'efficientformer',
  classes: { 'efficientformer.EfficientFormer': buildEfficientFormer },
  takesImageSize: false,
  noWeightDecay: ['attention_biases'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
