import { channelHeads, measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildEdgeNext } from './build.ts';

const reading = vectorReading(/^(stages\.\d+\.blocks\.\d+)\./, ['norm.weight'], ['mlp.fc1.bias']);

/** timm's EdgeNeXt. */
export const edgeNext: Family = {
  name: 'edgenext',
  classes: { 'edgenext.EdgeNeXt': buildEdgeNext },
  takesImageSize: false,
  noWeightDecay: ['temperature'],
  blocks: (graph) => channelHeads(graph, measuredBlocks(graph, reading), /\.xca\.softmax$/),
};
