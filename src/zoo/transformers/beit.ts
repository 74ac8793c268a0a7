import { imagesOf, transformerArgs } from './arguments.ts';
import { encoderLayers, heads, patchEmbedding } from './names.ts';
import type { TransformersRow } from './row.ts';

const layer = '^encoder\\.layer\\.(\\d+)';

/** BEiT (`microsoft/beit-base-patch16-224`). Keys have no bias, so timm keeps those of queries and values apart. */
export const beit: TransformersRow = {
  types: ['beit', 'data2vec-vision'],
  modules: ['beit', 'data2vec_vision'],
  plan(fields) {
    const scale = fields.number('layer_scale_init_value', 0.1);
    const { act_layer: _, ...args } = transformerArgs(fields);
    return {
      names: ['beit_base_patch16_224', 'beit_large_patch16_224'],
      args: {
        ...args,
        qkv_bias: true,
        init_values: scale > 0 ? scale : null,
        use_abs_pos_emb: fields.boolean('use_absolute_position_embeddings', false),
        use_rel_pos_bias: fields.boolean('use_relative_position_bias', false),
        use_shared_rel_pos_bias: fields.boolean('use_shared_relative_position_bias', false),
        global_pool: fields.boolean('use_mean_pooling', true) ? 'avg' : 'token',
      },
      ...imagesOf(fields),
    };
  },
  rules: [
    [/relative_position_index$/, undefined],
    [/^pooler\.layernorm\./, 'fc_norm.'],
    [/^encoder\.relative_position_bias\./, 'rel_pos_bias.'],
    [new RegExp(`${layer}\\.lambda_([12])$`), 'blocks.$1.gamma_$2'],
    [new RegExp(`${layer}\\.attention\\.attention\\.relative_position_bias\\.`), 'blocks.$1.attn.'],
    [new RegExp(`${layer}\\.attention\\.attention\\.query\\.bias$`), 'blocks.$1.attn.q_bias'],
    [new RegExp(`${layer}\\.attention\\.attention\\.value\\.bias$`), 'blocks.$1.attn.v_bias'],
    ...patchEmbedding,
    ...encoderLayers('encoder\\.layer\\.(\\d+)', 'blocks.$1', 'attention'),
    [/^layernorm\./, 'norm.'],
    ...heads,
  ],
};
