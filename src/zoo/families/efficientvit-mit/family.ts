import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildEfficientVit } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+)\./,
  ['context_module.main.proj.norm.weight', 'main.point_conv.norm.weight'],
  [
    'local_module.main.inverted_conv.conv.bias',
    'main.inverted_conv.norm.weight',
    'main.inverted_conv.conv.bias',
    'main.spatial_conv.norm.weight',
  ],
);

/** timm's EfficientVit of MIT. */
export const efficientVitMit: Family = {
  name: 'efficientvit_mit',
  classes: {
    'efficientvit_mit.EfficientVit': buildEfficientVit('EfficientVit'),
    'efficientvit_mit.EfficientVitLarge': buildEfficientVit('EfficientVitLarge'),
  },
  takesImageSize: false,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
