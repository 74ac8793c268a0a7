import type { Graph } from '../../../graph/graph.ts';
import { type BlockShape, measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildXcit } from './build.ts';

const reading = vectorReading(/^((?:cls_attn_)?blocks\.\d+)\./, ['norm1.weight'], ['mlp.fc1.bias']);

/** Between channels, the product behind the scores is over tokens: the width of a head is the scores' own. */
function blocks(graph: Graph): BlockShape[] {
  return measuredBlocks(graph, reading).map((block) => {
    const width = graph.nodes
      .find(({ op, outputs }) => op === 'Softmax' && outputs[0]?.name === `${block.name}.attn.softmax`)
      ?.output()
      .shape?.at(-1);
    return block.name.startsWith('cls') || typeof width !== 'number' ? block : { ...block, headDim: width };
  });
}

/** timm's Xcit. */
export const xcit: Family = {
  name: 'xcit',
  classes: { 'xcit.Xcit': buildXcit },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token', 'temperature'],
  blocks,
};
