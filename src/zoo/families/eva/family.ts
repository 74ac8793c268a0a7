import { measuredBlocks } from '../../blocks-of.ts';
import type { Family, ModelFacts } from '../../family.ts';
import { inferTransformerArgs, ratioFor } from '../../infer-transformer.ts';
import { attentionQueryRows } from '../../layers/query-rows.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import type { ModelArgs } from '../../model-args.ts';
import { buildEva } from './build.ts';

/** With gates counted apart where they are of the same Linear, no rounding, and the MLP of an attention pool. */
function inferArgs(facts: ModelFacts, given: ModelArgs): ModelArgs | undefined {
  const { state } = facts;
  const packed = state.get('blocks.0.mlp.fc1.weight')?.[0];
  const halved = packed !== undefined && packed !== state.get('blocks.0.mlp.fc2.weight')?.[1];
  const blocks = facts.blocks.map((block) =>
    halved && block.mlpHidden ? { ...block, mlpHidden: block.mlpHidden / 2 } : block,
  );
  const args = inferTransformerArgs({ ...facts, blocks }, given);
  const [hidden, width] = state.get('attn_pool.mlp.fc1.weight') ?? [];
  return (
    args && {
      ...args,
      ...(state.has('blocks.0.mlp.fc1_g.weight') ? { swiglu_align_to: 1 } : {}),
      ...(hidden && width ? { attn_pool_mlp_ratio: ratioFor(width, hidden) } : {}),
    }
  );
}

/** timm's Eva. */
export const eva: Family = {
  name: 'eva',
  classes: { 'eva.Eva': buildEva },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token', 'reg_token', 'rope.freqs'],
  blocks: (graph) => measuredBlocks(graph, transformerReading),
  inferArgs,
  queryRows: attentionQueryRows,
};
