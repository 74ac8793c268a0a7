import type { Graph } from '../../../graph/graph.ts';
import { type BlockShape, measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildMaxxVit } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+(?:\.attn_block|\.attn_grid|\.attn(?=\.(?:norm|mlp|attn)))?)\./,
  ['norm2.weight'],
  ['mlp.fc1.bias'],
);

/** Those with attention: what a block of convolutions has is no head and no MLP. */
const blocks = (graph: Graph): BlockShape[] =>
  measuredBlocks(graph, reading).filter(({ numHeads }) => numHeads !== null);

/** timm's MaxxVit: CoAtNet, MaxViT, CoAtNeXt and MaxxViT. */
export const maxxVit: Family = {
  name: 'maxxvit',
  classes: { 'maxxvit.MaxxVit': buildMaxxVit },
  takesImageSize: true,
  noWeightDecay: ['relative_position_bias_table', 'rel_pos.mlp'],
  blocks,
};
