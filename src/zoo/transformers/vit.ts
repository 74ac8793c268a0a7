import { imagesOf, transformerArgs } from './arguments.ts';
import { encoderLayers, heads, patchEmbedding } from './names.ts';
import type { NameRule, TransformersRow } from './row.ts';

/** Layers as ViT and DeiT name them. */
export const vitRules: NameRule[] = [
  ...patchEmbedding,
  ...encoderLayers('encoder\\.layer\\.(\\d+)', 'blocks.$1', 'attention'),
  [/^layernorm\./, 'norm.'],
  ...heads,
];

/** ViT (`google/vit-base-patch16-224`): timm's, with a smaller epsilon. */
export const vit: TransformersRow = {
  types: ['vit'],
  modules: ['vit'],
  plan: (fields) => ({
    names: [
      'vit_base_patch16_224',
      'vit_tiny_patch16_224',
      'vit_small_patch16_224',
      'vit_large_patch16_224',
      'vit_base_patch32_224',
      'vit_small_patch32_224',
      'vit_large_patch32_224',
      'vit_huge_patch14_224',
    ],
    args: { ...transformerArgs(fields), qkv_bias: fields.boolean('qkv_bias', true) },
    ...imagesOf(fields),
  }),
  rules: vitRules,
};
