import type { Graph } from '../../../graph/graph.ts';
import { type BlockShape, measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildMobileVit } from './build.ts';

const reading = vectorReading(/^(stages\.\d+\.\d+\.transformer\.\d+)\./, ['norm1.weight'], ['mlp.fc1.bias']);

/** The attention of V2 has no heads: its one query weighs the patches. */
const blocks = (graph: Graph): BlockShape[] =>
  measuredBlocks(graph, reading).map((block) =>
    graph.constants.has(`${block.name}.attn.qkv_proj.weight`)
      ? { ...block, numHeads: null, headDim: null }
      : block,
  );

/** timm's MobileViT and MobileViT V2. */
export const mobileVit: Family = {
  name: 'mobilevit',
  classes: { 'mobilevit.ByobNet': buildMobileVit },
  takesImageSize: false,
  noWeightDecay: [],
  blocks,
};
