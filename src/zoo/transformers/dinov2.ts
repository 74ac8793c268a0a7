import { activationOf, imagesOf, layerNorm } from './arguments.ts';
import { encoderLayers, patchEmbedding } from './names.ts';
import type { Fields, Plan, TransformersRow } from './row.ts';

const layer = '^encoder\\.layer\\.(\\d+)';

const plain = [
  'vit_base_patch14_dinov2',
  'vit_small_patch14_dinov2',
  'vit_large_patch14_dinov2',
  'vit_giant_patch14_dinov2',
];
const withRegisters = [
  'vit_base_patch14_reg4_dinov2',
  'vit_small_patch14_reg4_dinov2',
  'vit_large_patch14_reg4_dinov2',
  'vit_giant_patch14_reg4_dinov2',
];

function plan(fields: Fields, hasClassifier: boolean): Plan {
  const width = fields.integer('hidden_size', 768, 1);
  const ratio = fields.number('mlp_ratio', 4);
  const gated = fields.boolean('use_swiglu_ffn', false);
  const units = gated ? 2 * 8 * Math.floor((Math.trunc((Math.trunc(width * ratio) * 2) / 3) + 7) / 8) : 0;
  const registers = fields.has('num_register_tokens') ? fields.integer('num_register_tokens', 4, 0) : 0;
  const names = registers ? withRegisters : plain;
  return {
    names: gated ? names.slice(-1) : names.slice(0, -1),
    args: {
      patch_size: fields.integer('patch_size', 14, 1),
      embed_dim: width,
      depth: fields.integer('num_hidden_layers', 12, 0),
      num_heads: fields.integer('num_attention_heads', 12, 1),
      mlp_ratio: gated ? (units + 0.5) / width : ratio,
      qkv_bias: fields.boolean('qkv_bias', true),
      init_values: 1e-5,
      ...(gated ? {} : { act_layer: activationOf(fields) }),
      ...layerNorm(fields.number('layer_norm_eps', 1e-6)),
      ...(registers ? { reg_tokens: registers, no_embed_class: true } : {}),
      ...(hasClassifier ? { global_pool: '' } : {}),
    },
    ...imagesOf(fields),
    classAndMean: hasClassifier,
  };
}

/**
 * DINOv2 with and without registers (`facebook/dinov2-base`), into the layout in which its authors publish it, from
 * which timm's family takes it on. A classifier of transformers' reads the class token beside the patches' mean.
 */
export const dinov2: TransformersRow = {
  types: ['dinov2', 'dinov2_with_registers'],
  modules: ['dinov2', 'dinov2_with_registers'],
  plan: (fields, state) => plan(fields, state.has('classifier.weight')),
  rules: [
    ...patchEmbedding,
    [/^embeddings\.mask_token$/, 'mask_token'],
    [/^embeddings\.register_tokens$/, 'register_tokens'],
    [new RegExp(`${layer}\\.layer_scale([12])\\.lambda1$`), 'blocks.$1.ls$2.gamma'],
    [new RegExp(`${layer}\\.(norm[12]|mlp\\.fc[12])\\.`), 'blocks.$1.$2.'],
    [new RegExp(`${layer}\\.mlp\\.weights_in\\.`), 'blocks.$1.mlp.w12.'],
    [new RegExp(`${layer}\\.mlp\\.weights_out\\.`), 'blocks.$1.mlp.w3.'],
    ...encoderLayers('encoder\\.layer\\.(\\d+)', 'blocks.$1', 'attention'),
    [/^layernorm\./, 'norm.'],
    [/^classifier\./, 'head.'],
  ],
};
