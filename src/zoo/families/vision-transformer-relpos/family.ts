import { measuredBlocks } from '../../blocks-of.ts';
import type { Family, ModelFacts } from '../../family.ts';
import { inferTransformerArgs } from '../../infer-transformer.ts';
import { attentionQueryRows } from '../../layers/query-rows.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import type { ModelArgs } from '../../model-args.ts';
import { buildVisionTransformerRelPos } from './build.ts';

/** With the hidden units of the network that makes the biases, where there is one. */
function inferArgs(facts: ModelFacts, given: ModelArgs): ModelArgs | undefined {
  const args = inferTransformerArgs(facts, given);
  const network = ['shared_rel_pos', 'blocks.0.attn.rel_pos']
    .map((scope) => facts.state.get(`${scope}.mlp.fc1.weight`))
    .find((shape) => shape !== undefined);
  return args && network ? { ...args, rel_pos_dim: network[0] } : args;
}

/** timm's VisionTransformerRelPos. */
export const visionTransformerRelPos: Family = {
  name: 'vision_transformer_relpos',
  classes: { 'vision_transformer_relpos.VisionTransformerRelPos': buildVisionTransformerRelPos },
  takesImageSize: true,
  noWeightDecay: ['cls_token'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
  inferArgs,
  queryRows: attentionQueryRows,
};
