import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildCrossVit } from './build.ts';

const reading = vectorReading(
  /^(blocks\.\d+\.(?:blocks\.\d+\.\d+|fusion\.\d+(?:\.\d+)?))\.(?:norm|attn|mlp)/,
  ['norm1.weight'],
  ['mlp.fc1.bias'],
);

/** timm's CrossVit. */
export const crossVit: Family = {
  name: 'crossvit',
  classes: { 'crossvit.CrossVit': buildCrossVit },
  takesImageSize: true,
  noWeightDecay: ['pos_embed_0', 'pos_embed_1', 'cls_token_0', 'cls_token_1'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
