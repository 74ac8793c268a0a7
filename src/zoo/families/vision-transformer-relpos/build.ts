import type { Graph, Value } from '../../../graph/graph.ts';
import { attention } from '../../layers/attention.ts';
import { Layers, pytorchStart } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { meanOver, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import {
  boundedBias,
  relativePositionBias,
  relativePositionMlp,
  signedLog,
  swinCoordinate,
} from '../../layers/relative-position.ts';
import { postNormBlock, preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type RelPosArgs, relPosArgs } from './arguments.ts';

/**
 * timm's VisionTransformerRelPos: a ViT that knows positions by a bias on its scores, which a table or a small
 * network makes of their offsets, and no embedding of them.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildVisionTransformerRelPos(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = relPosArgs(modelArgs);
  const layers = new Layers('VisionTransformerRelPos', source, pytorchStart);
  const { patch_size, embed_dim: width, class_token, norm } = args;
  const images = layers.images(args.in_chans, args.img_size);
  const patches = patchEmbed(layers, 'patch_embed', images, { patchSize: patch_size, width });
  const grid = args.img_size.map((size, i) => Math.floor(size / patch_size[i]!)) as [number, number];
  const prefix = class_token
    ? [layers.parameter('cls_token', [1, 1, width], { kind: 'normal', std: 1e-6 })]
    : [];
  let x = embedTokens(layers, patches, prefix, undefined);
  const shared = args.shared_rel_pos
    ? layers.scope('shared_rel_pos', () => positionBias(layers, args, grid))
    : undefined;
  for (let i = 0; i < args.depth; i++) {
    x = layers.scope(`blocks.${i}`, () => block(layers, x, args, grid, shared));
  }
  if (!args.fc_norm) x = layers.norm('norm', x, norm);
  if (args.global_pool === 'token') x = tokenAt(layers, x, 0);
  if (args.global_pool === 'avg') x = meanOver(layers, withoutPrefix(layers, x, prefix.length), [1]);
  if (args.fc_norm) x = layers.norm('fc_norm', x, norm);
  return layers.finish(args.num_classes > 0 ? layers.linear('head', x, args.num_classes) : x);
}

type Grid = readonly [height: number, width: number];

function block(layers: Layers, x: Value, args: RelPosArgs, grid: Grid, shared: Value | undefined): Value {
  const parts = {
    norm: args.norm,
    attend: (tokens: Value) =>
      layers.scope('attn', () =>
        attention(layers, tokens, {
          heads: args.num_heads,
          qkvBias: args.qkv_bias,
          projBias: true,
          qkNorm: args.qk_norm ? args.norm : undefined,
          scaleNorm: undefined,
          biases: [shared ?? layers.scope('rel_pos', () => positionBias(layers, args, grid))],
        }),
      ),
    feed: (tokens: Value) =>
      mlp(
        layers,
        tokens,
        { kind: 'Mlp', activation: args.activation, gateLast: true },
        { hidden: Math.trunc(args.embed_dim * args.mlp_ratio), bias: true, norm: undefined },
      ),
  };
  if (args.block === 'ResPostRelPosBlock') {
    const start = { kind: 'constant', value: args.init_values || 1 } as const;
    return postNormBlock(layers, x, { ...parts, normInitializer: start });
  }
  return preNormBlock(layers, x, {
    ...parts,
    scale: (branch, index) =>
      args.init_values ? layers.layerScale(`ls${index}`, branch, args.init_values) : branch,
  });
}

/** What is added to the scores, `[heads, T, T]`. */
function positionBias(layers: Layers, args: RelPosArgs, window: Grid): Value {
  const { num_heads: heads, class_token: classToken, rel_pos_type: type } = args;
  if (type === 'bias') return relativePositionBias(layers, { window, heads, classToken });
  const b = layers.builder;
  const swin = type === 'mlp_swin';
  let bias = layers.scope('mlp', () =>
    relativePositionMlp(layers, {
      window,
      heads,
      hidden: args.rel_pos_dim || 128,
      coordinate: swin ? swinCoordinate : signedLog,
      names: ['fc1', 'fc2'],
      bias: !swin,
    }),
  );
  if (swin) bias = boundedBias(layers, bias);
  return classToken ? b.op('Pad', [bias, b.ints([0, 1, 1, 0, 0, 0])], {}, 'bias_padded') : bias;
}
