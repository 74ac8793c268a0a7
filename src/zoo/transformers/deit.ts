import { imagesOf, transformerArgs } from './arguments.ts';
import type { TransformersRow } from './row.ts';
import { vitRules } from './vit.ts';

/**
 * DeiT (`facebook/deit-base-distilled-patch16-224`). With a teacher's head it is timm's distilled class; without one
 * the distillation token is there all the same, and nothing but one more token before the patches.
 */
export const deit: TransformersRow = {
  types: ['deit'],
  modules: ['deit'],
  plan(fields, state) {
    const distilled = state.has('distillation_classifier.weight');
    return {
      names: distilled
        ? [
            'deit_base_distilled_patch16_224',
            'deit_tiny_distilled_patch16_224',
            'deit_small_distilled_patch16_224',
          ]
        : ['deit_base_patch16_224', 'deit_tiny_patch16_224', 'deit_small_patch16_224'],
      args: {
        ...transformerArgs(fields),
        qkv_bias: fields.boolean('qkv_bias', true),
        ...(distilled ? {} : { reg_tokens: 1 }),
      },
      ...imagesOf(fields),
    };
  },
  rules: [
    [/^embeddings\.distillation_token$/, 'dist_token'],
    [/^cls_classifier\./, 'head.'],
    [/^distillation_classifier\./, 'head_dist.'],
    ...vitRules,
  ],
  adapt(state) {
    const token = state.get('dist_token');
    if (!token || state.has('head_dist.weight')) return;
    state.delete('dist_token');
    state.set('reg_token', token);
  },
};
