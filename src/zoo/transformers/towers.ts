import { Tensor } from '../../graph/tensor.ts';
import { imagesOf, transformerArgs } from './arguments.ts';
import { joinedQueries } from './names.ts';
import type { Fields, NameRule, TransformersRow } from './row.ts';
import { reshaped, rowsOf } from './tensors.ts';

const layer = '^encoder\\.layers\\.(\\d+)';

/** The vision towers of CLIP and SigLIP. */
const tower: NameRule[] = [
  [/^(text_model|text_projection)\b/, undefined],
  [/^(logit_scale|logit_bias)$/, undefined],
  [/position_ids$/, undefined],
  [/^embeddings\.class_embedding$/, 'cls_token'],
  [/^embeddings\.patch_embedding\./, 'patch_embed.proj.'],
  [/^embeddings\.position_embedding\.weight$/, 'pos_embed'],
  [/^pre_layrnorm\./, 'norm_pre.'],
  ...joinedQueries('encoder\\.layers\\.(\\d+)\\.self_attn', 'blocks.$1.attn'),
  [new RegExp(`${layer}\\.self_attn\\.out_proj\\.`), 'blocks.$1.attn.proj.'],
  [new RegExp(`${layer}\\.layer_norm([12])\\.`), 'blocks.$1.norm$2.'],
  [new RegExp(`${layer}\\.mlp\\.`), 'blocks.$1.mlp.'],
  [/^post_layernorm\./, 'norm.'],
  [/^(classifier|visual_projection)\./, 'head.'],
];

const visionOf = (fields: Fields): Fields => fields.inner('vision_config') ?? fields;

function shaped(state: Map<string, Tensor>): void {
  const position = state.get('pos_embed');
  if (position?.shape.length === 2) {
    state.set('pos_embed', reshaped('pos_embed', position, [1, ...position.shape]));
  }
  const token = state.get('cls_token');
  if (token?.shape.length === 1) state.set('cls_token', reshaped('cls_token', token, [1, 1, ...token.shape]));
}

/**
 * CLIP's vision tower (`openai/clip-vit-base-patch32`), alone or in the whole model. Where it is projected, the
 * projection is the head, without a bias; its classifier reads the mean of the patches before the last norm.
 */
export const clip: TransformersRow = {
  types: ['clip', 'clip_vision_model'],
  modules: ['vision_model', 'clip'],
  plan(fields, state) {
    const vision = visionOf(fields);
    const classifies = state.has('classifier.weight');
    return {
      names: [
        'vit_base_patch32_clip_224',
        'vit_base_patch16_clip_224',
        'vit_large_patch14_clip_224',
        'vit_huge_patch14_clip_224',
      ],
      args: {
        ...transformerArgs(vision, 1e-5),
        pre_norm: true,
        ...(classifies ? { global_pool: 'avg', final_norm: false, fc_norm: false } : {}),
      },
      ...imagesOf(vision),
    };
  },
  rules: tower,
  adapt(state, leftOver) {
    shaped(state);
    const head = state.get('head.weight');
    if (head && !state.has('head.bias')) {
      state.set('head.bias', Tensor.zeros('float32', [head.shape[0]!]));
    } else if (head) {
      for (const name of ['norm.weight', 'norm.bias']) if (state.delete(name)) leftOver.push(name);
    }
  },
};

/**
 * SigLIP's vision tower (`google/siglip-base-patch16-224`): pooled by attention; its classifier reads the mean of
 * the patches instead.
 */
export const siglip: TransformersRow = {
  types: ['siglip', 'siglip_vision_model'],
  modules: ['vision_model', 'siglip'],
  plan(fields, state) {
    const vision = visionOf(fields);
    const pooled = !state.has('classifier.weight') && state.has('head.probe');
    return {
      names: [
        'vit_base_patch16_siglip_224',
        'vit_large_patch16_siglip_256',
        'vit_so400m_patch14_siglip_224',
        'vit_base_patch16_siglip_gap_224',
      ].filter((name) => !pooled || !name.includes('gap')),
      args: {
        ...transformerArgs(vision, 1e-6),
        class_token: false,
        global_pool: pooled ? 'map' : 'avg',
        ...(pooled ? {} : { fc_norm: false }),
      },
      ...imagesOf(vision),
    };
  },
  rules: [
    [/^head\.probe$/, 'attn_pool.latent'],
    [/^head\.attention\.(in_proj)_(weight|bias)$/, 'attn_pool.$1.$2'],
    [/^head\.attention\.out_proj\./, 'attn_pool.proj.'],
    [/^head\.layernorm\./, 'attn_pool.norm.'],
    [/^head\.mlp\./, 'attn_pool.mlp.'],
    ...tower,
  ],
  adapt(state, leftOver) {
    shaped(state);
    const classifies = state.has('head.weight');
    for (const name of [...state.keys()]) {
      if (!name.startsWith('attn_pool.')) continue;
      const tensor = state.get(name)!;
      const [, kind] = /^attn_pool\.in_proj\.(\w+)$/.exec(name) ?? [];
      if (kind || classifies) state.delete(name);
      if (classifies) leftOver.push(name);
      if (!kind || classifies) continue;
      const width = tensor.shape[0]! / 3;
      state.set(`attn_pool.q.${kind}`, rowsOf(name, tensor, 0, width));
      state.set(`attn_pool.kv.${kind}`, rowsOf(name, tensor, width, 3 * width));
    }
  },
};
