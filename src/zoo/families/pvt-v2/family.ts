import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildPvtV2 } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+)\./,
  ['norm1.weight'],
  ['mlp.fc1.bias', 'mlp.dwconv.bias'],
);

/** timm's PyramidVisionTransformerV2. */
export const pvtV2: Family = {
  name: 'pvt_v2',
  classes: { 'pvt_v2.PyramidVisionTransformerV2': buildPvtV2 },
  takesImageSize: false,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
