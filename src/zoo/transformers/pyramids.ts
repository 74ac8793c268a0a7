import { UserError } from '../../common/errors.ts';
import { layerNorm } from './arguments.ts';
import { heads } from './names.ts';
import type { Fields, NameRule, Plan, TransformersRow } from './row.ts';

const names = ['pvt_v2_b0', 'pvt_v2_b1', 'pvt_v2_b2', 'pvt_v2_b3', 'pvt_v2_b4', 'pvt_v2_b5', 'pvt_v2_b2_li'];

/** @param epsilon of the norms in the blocks */
function plan(fields: Fields, epsilon: number, ratios: readonly number[]): Plan {
  const same = (name: string, wanted: readonly number[]) => {
    const found = fields.integers(name, wanted);
    if (`${found}` !== `${wanted}`)
      throw new UserError(`${name} [${found}] is not supported: timm has [${wanted}]`);
  };
  same('patch_sizes', [7, 3, 3, 3]);
  same('strides', [4, 2, 2, 2]);
  return {
    names,
    args: {
      depths: fields.integers('depths', [2, 2, 2, 2], 0),
      embed_dims: fields.integers('hidden_sizes', [32, 64, 160, 256]),
      num_heads: fields.integers('num_attention_heads', [1, 2, 5, 8]),
      sr_ratios: fields.integers('sr_ratios', [8, 4, 2, 1]),
      mlp_ratios: fields.perStage('mlp_ratios', ratios),
      qkv_bias: fields.boolean('qkv_bias', true),
      linear: fields.boolean('linear_attention', false),
      ...layerNorm(epsilon),
    },
    imageSize: fields.pair('image_size', 224),
    channels: fields.integer('num_channels', 3, 1),
  };
}

/** Where timm merges patches: before the first stage, and at the beginning of the others. */
const merging = (stage: string, rest: string): string =>
  Number(stage) === 0 ? `patch_embed.${rest}` : `stages.${stage}.downsample.${rest}`;

/** A block's layers under `from`, whose pattern has the stage and the block as groups. */
const blockRules = (from: string, attention: string, reduction: string): NameRule[] => {
  const to = 'stages.$1.blocks.$2';
  const own = (path: string, name: string): NameRule => [
    new RegExp(`^${from}\\.${path}\\.`),
    `${to}.${name}.`,
  ];
  return [
    own('layer_norm_1', 'norm1'),
    own('layer_norm_2', 'norm2'),
    own(`${attention}\\.query`, 'attn.q'),
    [new RegExp(`^${from}\\.${attention}\\.key\\.(weight|bias)$`), `${to}.attn.kv.$3@0`],
    [new RegExp(`^${from}\\.${attention}\\.value\\.(weight|bias)$`), `${to}.attn.kv.$3@1`],
    own(`${attention}\\.${reduction}`, 'attn.sr'),
    own(`${attention}\\.layer_norm`, 'attn.norm'),
    own('mlp\\.dense1', 'mlp.fc1'),
    own('mlp\\.dwconv\\.dwconv', 'mlp.dwconv'),
    own('mlp\\.dense2', 'mlp.fc2'),
  ];
};

/** PVT v2 (`OpenGVLab/pvt_v2_b0`). */
export const pvtV2: TransformersRow = {
  types: ['pvt_v2'],
  modules: ['pvt_v2'],
  plan: (fields) => plan(fields, fields.number('layer_norm_eps', 1e-6), [8, 8, 4, 4]),
  rules: [
    ...blockRules('encoder\\.layers\\.(\\d+)\\.blocks\\.(\\d+)', 'attention', 'spatial_reduction'),
    [/^encoder\.layers\.(\d+)\.blocks\.(\d+)\.attention\.proj\./, 'stages.$1.blocks.$2.attn.proj.'],
    [/^encoder\.layers\.(\d+)\.patch_embedding\.proj\./, (stage) => merging(stage, 'proj.')],
    [/^encoder\.layers\.(\d+)\.patch_embedding\.layer_norm\./, (stage) => merging(stage, 'norm.')],
    [/^encoder\.layers\.(\d+)\.layer_norm\./, 'stages.$1.norm.'],
    ...heads,
  ],
};

/** SegFormer's encoder (`nvidia/mit-b0`): a PVT v2 with other ratios. A segmenter's decoder is left over. */
export const segformer: TransformersRow = {
  types: ['segformer'],
  modules: ['segformer'],
  plan: (fields) => plan(fields, 1e-5, [4, 4, 4, 4]),
  rules: [
    ...blockRules('encoder\\.block\\.(\\d+)\\.(\\d+)', 'attention\\.self', 'sr'),
    [/^encoder\.block\.(\d+)\.(\d+)\.attention\.output\.dense\./, 'stages.$1.blocks.$2.attn.proj.'],
    [/^encoder\.patch_embeddings\.(\d+)\.proj\./, (stage) => merging(stage, 'proj.')],
    [/^encoder\.patch_embeddings\.(\d+)\.layer_norm\./, (stage) => merging(stage, 'norm.')],
    [/^encoder\.layer_norm\.(\d+)\./, 'stages.$1.norm.'],
    ...heads,
  ],
};
