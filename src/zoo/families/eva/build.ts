import type { Graph, Value } from '../../../graph/graph.ts';
import { attention, attentionPool, biasesApart, projectionsApart } from '../../layers/attention.ts';
import { Layers, scaledStart } from '../../layers/layers.ts';
import { type MlpSpec, mlp } from '../../layers/mlp.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { globalPools, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { countTokens, embedTokens, positionEmbedding } from '../../layers/prefix-tokens.ts';
import { type Rotary, rotate } from '../../layers/rotary.ts';
import { postNormBlock, preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';
import { type EvaArgs, evaArgs } from './arguments.ts';
import { rotaryPairs, rotaryPositions } from './positions.ts';

const tokenStart: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's Eva: EVA and EVA-02 (arXiv 2303.11331), DINOv3, RoPE-ViT, the Perception Encoder and more, at one input size.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildEva(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = evaArgs(modelArgs);
  const { embed_dim: width, patch_size: patchSize, norm } = args;
  const layers = new Layers('Eva', source, scaledStart(args.head_init_scale));
  const images = layers.images(args.in_chans, args.img_size);
  const patches = patchEmbed(layers, 'patch_embed', images, { patchSize, width, bias: !args.pre_norm });
  const grid = args.img_size.map((size, i) => Math.floor(size / patchSize[i]!)) as [number, number];
  const prefix: Value[] = [];
  const token = (name: string, count: number) =>
    prefix.push(layers.parameter(name, [1, count, width], tokenStart));
  if (args.class_token) token('cls_token', 1);
  if (args.num_reg_tokens) token('reg_token', args.num_reg_tokens);
  const prefixCount = countTokens(prefix);
  const position = args.use_abs_pos_emb
    ? positionEmbedding(layers, patches, grid, args.no_embed_class ? 0 : prefixCount, tokenStart)
    : undefined;
  let x = embedTokens(layers, patches, prefix, position);
  const rotary = args.use_rot_pos_emb ? rotaryPositions(layers, args, grid, prefixCount) : undefined;
  if (args.pre_norm) x = layers.norm('norm_pre', x, norm);
  for (let i = 0; i < args.depth; i++) {
    x = layers.scope(`blocks.${i}`, () => block(layers, x, args, rotary?.(i)));
  }
  if (args.final_norm) x = layers.norm('norm', x, norm);
  x = pooled(layers, x, args, prefixCount);
  if (args.fc_norm) x = layers.norm('fc_norm', x, norm);
  return layers.finish(args.num_classes > 0 ? layers.linear('head', x, args.num_classes) : x);
}

function block(layers: Layers, x: Value, args: EvaArgs, rotary: Rotary | undefined): Value {
  const { norm, init_values } = args;
  const parts = {
    norm,
    attend: (tokens: Value) => layers.scope('attn', () => selfAttention(layers, tokens, args, rotary)),
    feed: (tokens: Value) => feedForward(layers, tokens, args),
  };
  if (args.use_post_norm) return postNormBlock(layers, x, parts);
  return preNormBlock(layers, x, {
    ...parts,
    scale: (branch, index) =>
      init_values === undefined ? branch : layers.channelScale(`gamma_${index}`, branch, init_values),
  });
}

function selfAttention(layers: Layers, x: Value, args: EvaArgs, rotary: Rotary | undefined): Value {
  const rope = args.attn_type === 'rope';
  return attention(layers, x, {
    heads: args.num_heads,
    qkvBias: args.qkv_bias,
    projBias: true,
    qkNorm: undefined,
    scaleNorm: args.scale_attn_inner ? args.norm : undefined,
    ...(args.qkv_fused ? (rope ? {} : { project: biasesApart }) : { project: projectionsApart(rope) }),
    ...(rotary ? { prepare: (heads: Value) => rotate(layers, heads, rotary, rotaryPairs(args)) } : {}),
  });
}

/** Gates are of the same Linear as what they gate, unless a norm follows or their number is rounded up. */
function feedForward(layers: Layers, x: Value, args: EvaArgs): Value {
  const { swiglu_mlp, scale_mlp, swiglu_align_to: multiple, use_post_norm } = args;
  const width = Math.trunc(args.embed_dim * args.mlp_ratio);
  const options = { bias: true, norm: scale_mlp ? args.norm : undefined };
  const gated = (kind: MlpSpec['kind'], hidden: number) =>
    mlp(layers, x, { kind, activation: 'silu', gateLast: false, plainStart: true }, { ...options, hidden });
  if (!swiglu_mlp) {
    return mlp(layers, x, { kind: 'Mlp', activation: 'gelu', gateLast: true }, { ...options, hidden: width });
  }
  if (!scale_mlp && (use_post_norm || !multiple)) return gated('GluMlp', 2 * width);
  return gated('SwiGLU', multiple ? Math.ceil(width / multiple) * multiple : width);
}

function pooled(layers: Layers, x: Value, args: EvaArgs, prefixCount: number): Value {
  const { global_pool: pool, norm, attn_pool_num_heads: heads } = args;
  if (pool === 'token') return tokenAt(layers, x, 0);
  if (pool !== 'map')
    return pool === '' ? x : globalPools[pool](layers, withoutPrefix(layers, x, prefixCount), [1]);
  const hidden = Math.trunc(args.embed_dim * args.attn_pool_mlp_ratio);
  return layers.scope('attn_pool', () =>
    attentionPool(layers, x, heads, norm, (token) =>
      mlp(
        layers,
        token,
        { kind: 'Mlp', activation: 'gelu', gateLast: true },
        { hidden, bias: true, norm: undefined },
      ),
    ),
  );
}
