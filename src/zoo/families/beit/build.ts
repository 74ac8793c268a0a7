import type { Graph, Value } from '../../../graph/graph.ts';
import { attention, biasesApart } from '../../layers/attention.ts';
import { Layers, scaledStart } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { meanOver, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { embedTokens, positionEmbedding } from '../../layers/prefix-tokens.ts';
import { relativePositionBias } from '../../layers/relative-position.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';
import { type BeitArgs, beitArgs } from './arguments.ts';

const tokenStart: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's Beit ("BEiT: BERT Pre-Training of Image Transformers", arXiv 2106.08254): a ViT whose scores know the
 * offsets of patches by a table in each block or one for all.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildBeit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = beitArgs(modelArgs);
  const { patch_size, embed_dim: width, global_pool: pool, num_heads: heads } = args;
  const layers = new Layers('Beit', source, scaledStart(args.head_init_scale));
  const images = layers.images(args.in_chans, args.img_size);
  const patches = patchEmbed(layers, 'patch_embed', images, { patchSize: patch_size, width });
  const window = args.img_size.map((size, i) => Math.floor(size / patch_size[i]!)) as [number, number];
  const token = layers.parameter('cls_token', [1, 1, width], tokenStart);
  const position = args.use_abs_pos_emb
    ? positionEmbedding(layers, patches, window, 1, tokenStart)
    : undefined;
  let x = embedTokens(layers, patches, [token], position);
  const bias = () =>
    relativePositionBias(layers, {
      window,
      heads,
      classToken: true,
      initializer: { kind: 'constant', value: 0 },
    });
  const shared = args.use_shared_rel_pos_bias ? [layers.scope('rel_pos_bias', bias)] : [];
  for (let i = 0; i < args.depth; i++) {
    x = layers.scope(`blocks.${i}`, () =>
      block(layers, x, args, () => (args.use_rel_pos_bias ? [bias(), ...shared] : shared)),
    );
  }
  if (pool !== 'avg') x = layers.norm('norm', x, args.norm);
  if (pool === 'token') x = tokenAt(layers, x, 0);
  if (pool === 'avg') x = meanOver(layers, withoutPrefix(layers, x, 1), [1]);
  if (pool === 'avg') x = layers.norm('fc_norm', x, args.norm);
  return layers.finish(args.num_classes > 0 ? layers.linear('head', x, args.num_classes) : x);
}

function block(layers: Layers, x: Value, args: BeitArgs, biases: () => Value[]): Value {
  const { norm, init_values } = args;
  return preNormBlock(layers, x, {
    norm,
    attend: (tokens) =>
      layers.scope('attn', () =>
        attention(layers, tokens, {
          heads: args.num_heads,
          qkvBias: args.qkv_bias,
          projBias: true,
          qkNorm: undefined,
          scaleNorm: undefined,
          project: biasesApart,
          biases: biases(),
        }),
      ),
    feed: (tokens) =>
      mlp(
        layers,
        tokens,
        args.swiglu_mlp
          ? { kind: 'SwiGLU', activation: 'silu', gateLast: false, plainStart: true }
          : { kind: 'Mlp', activation: 'gelu', gateLast: true },
        {
          hidden: Math.trunc(args.embed_dim * args.mlp_ratio),
          bias: true,
          norm: args.scale_mlp ? norm : undefined,
        },
      ),
    scale: (branch, index) =>
      init_values ? layers.channelScale(`gamma_${index}`, branch, init_values) : branch,
  });
}
