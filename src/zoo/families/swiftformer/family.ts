import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildSwiftFormer } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+)\./,
  ['linear.fc2.bias', 'pwconv2.bias'],
  ['linear.fc1.bias', 'pwconv1.bias'],
);

/** timm's SwiftFormer. */
export const swiftFormer: Family = {
  name: 'swiftformer',
  classes: { 'swiftformer.SwiftFormer': buildSwiftFormer },
  takesImageSize: false,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
