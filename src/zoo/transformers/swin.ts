import { UserError } from '../../common/errors.ts';
import { activationOf, imagesOf, layerNorm } from './arguments.ts';
import { encoderLayers, heads, patchEmbedding } from './names.ts';
import type { Fields, NameRule, TransformersRow } from './row.ts';

const block = 'encoder\\.layers\\.(\\d+)\\.blocks\\.(\\d+)';
const to = 'layers.$1.blocks.$2';

function args(fields: Fields) {
  if (fields.boolean('use_absolute_embeddings', false)) {
    throw new UserError('use_absolute_embeddings is not supported: timm has no such Swin');
  }
  if (activationOf(fields) !== 'gelu') throw new UserError('timm has Swin with hidden_act "gelu" only');
  const depths = fields.integers('depths', [2, 2, 6, 2]);
  return {
    patch_size: fields.integer('patch_size', 4, 1),
    embed_dim: fields.integer('embed_dim', 96, 1),
    depths,
    num_heads: fields.integers('num_heads', [3, 6, 12, 24]),
    window_size: fields.integer('window_size', 7, 1),
    mlp_ratio: fields.number('mlp_ratio', 4),
    qkv_bias: fields.boolean('qkv_bias', true),
    ...layerNorm(fields.number('layer_norm_eps', 1e-5)),
  };
}

const common: NameRule[] = [
  [/(relative_position_index|relative_coords_table)$/, undefined],
  [/^embeddings\.norm\./, 'patch_embed.norm.'],
  [/^encoder\.layers\.(\d+)\.downsample\./, (stage) => `layers.${Number(stage) + 1}.downsample.`],
  ...patchEmbedding,
  ...encoderLayers(block, to, 'self'),
  [/^layernorm\./, 'norm.'],
  [/^classifier\./, 'head.fc.'],
  ...heads,
];

/** Swin (`microsoft/swin-tiny-patch4-window7-224`). */
export const swin: TransformersRow = {
  types: ['swin'],
  modules: ['swin'],
  plan: (fields) => ({
    names: [
      'swin_tiny_patch4_window7_224',
      'swin_small_patch4_window7_224',
      'swin_base_patch4_window7_224',
      'swin_large_patch4_window7_224',
      'swin_base_patch4_window12_384',
      'swin_large_patch4_window12_384',
    ],
    args: args(fields),
    ...imagesOf(fields),
  }),
  rules: [
    [
      new RegExp(`^${block}\\.attention\\.self\\.relative_position_bias_table$`),
      `${to}.attn.relative_position_bias_table`,
    ],
    ...common,
  ],
};

/** Swin V2 (`microsoft/swinv2-tiny-patch4-window8-256`): keys have no bias, and a network makes the biases of offsets. */
export const swinV2: TransformersRow = {
  types: ['swinv2'],
  modules: ['swinv2'],
  plan(fields) {
    const own = args(fields);
    const windows = fields.integers('pretrained_window_sizes', [0, 0, 0, 0], 0);
    return {
      names: [
        'swinv2_tiny_window8_256',
        'swinv2_tiny_window16_256',
        'swinv2_small_window8_256',
        'swinv2_base_window8_256',
        'swinv2_base_window16_256',
      ],
      args: { ...own, pretrained_window_sizes: windows.slice(0, own.depths.length) },
      ...imagesOf(fields),
    };
  },
  rules: [
    [new RegExp(`^${block}\\.attention\\.self\\.logit_scale$`), `${to}.attn.logit_scale`],
    [new RegExp(`^${block}\\.attention\\.self\\.continuous_position_bias_mlp\\.`), `${to}.attn.cpb_mlp.`],
    [new RegExp(`^${block}\\.attention\\.self\\.query\\.bias$`), `${to}.attn.q_bias`],
    [new RegExp(`^${block}\\.attention\\.self\\.value\\.bias$`), `${to}.attn.v_bias`],
    ...common,
  ],
};
