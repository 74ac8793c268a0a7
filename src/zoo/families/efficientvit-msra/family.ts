import type { Graph } from '../../../graph/graph.ts';
import { type BlockShape, measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildEfficientVitMsra } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.blocks\.\d+)\./,
  ['ffn0.m.pw2.bn.weight'],
  ['ffn0.m.pw1.bn.weight'],
);

/** Each head is an attention of its own. */
function blocks(graph: Graph): BlockShape[] {
  const attentions = graph.nodes.filter(({ op }) => op === 'Softmax').map((node) => node.output().name);
  return measuredBlocks(graph, reading).map((block) => {
    const numHeads = attentions.filter((name) => name.startsWith(`${block.name}.`)).length;
    return numHeads ? { ...block, numHeads } : block;
  });
}

/** timm's EfficientVit of Microsoft Research Asia. */
export const efficientVitMsra: Family = {
  name: 'efficientvit_msra',
  classes: { 'efficientvit_msra.EfficientVitMsra': buildEfficientVitMsra },
  takesImageSize: true,
  noWeightDecay: ['attention_biases'],
  blocks,
};
