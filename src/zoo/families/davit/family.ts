import type { Graph } from '../../../graph/graph.ts';
import { type BlockShape, measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildDavit } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+\.(?:\d+|spatial_block|channel_block))\./,
  ['norm1.weight'],
  ['mlp.fc1.bias'],
);

/** Among channels the product behind the scores is over places: the width of a head is the scores' own. */
function blocks(graph: Graph): BlockShape[] {
  const amongChannels = new Map<string, number>();
  for (const node of graph.nodes) {
    const width = node.outputs[0]?.shape?.at(-1);
    const [, name] = /^(.*)\.attn\.channel_weights$/.exec(node.outputs[0]?.name ?? '') ?? [];
    if (name !== undefined && typeof width === 'number') amongChannels.set(name, width);
  }
  return measuredBlocks(graph, reading).map((block) => {
    const headDim = amongChannels.get(block.name);
    return headDim === undefined ? block : { ...block, headDim };
  });
}

/** timm's DaVit. */
export const davit: Family = {
  name: 'davit',
  classes: { 'davit.DaVit': buildDavit },
  takesImageSize: false,
  noWeightDecay: [],
  blocks,
};
