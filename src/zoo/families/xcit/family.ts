import { channelHeads, measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildXcit } from './build.ts';

const reading = vectorReading(/^((?:cls_attn_)?blocks\.\d+)\./, ['norm1.weight'], ['mlp.fc1.bias']);

/** timm's Xcit. */
export const xcit: Family = {
  name: 'xcit',
  classes: { 'xcit.Xcit': buildXcit },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token', 'temperature'],
  blocks: (graph) => channelHeads(graph, measuredBlocks(graph, reading), /^blocks\.\d+\.attn\.softmax$/),
};
