import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { readArguments } from '../../arguments.ts';
import { attention } from '../../layers/attention.ts';
import { classAttention } from '../../layers/class-attention.ts';
import { activationName, normSpec } from '../../layers/layer-spec.ts';
import { Layers, lastDim } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { meanOver, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';

/** Arguments that only training sees. */
const withoutEffect = ['drop_rate', 'pos_drop_rate', 'proj_drop_rate', 'attn_drop_rate', 'drop_path_rate'];

const known = [
  'img_size patch_size in_chans num_classes global_pool embed_dim depth num_heads mlp_ratio qkv_bias norm_layer',
  'act_layer init_values depth_token_only mlp_ratio_token_only',
]
  .join(' ')
  .split(' ');

type CaitArgs = ReturnType<typeof caitArgs>;

function caitArgs(args: ModelArgs) {
  const read = readArguments(args, known, withoutEffect);
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.pair('patch_size', 16),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'avg', 'token'], 'token'),
    embed_dim: read.integer('embed_dim', 768, 1),
    depth: read.integer('depth', 12, 0),
    num_heads: read.integer('num_heads', 12, 1),
    mlp_ratio: read.number('mlp_ratio', 4),
    qkv_bias: read.boolean('qkv_bias', true),
    norm: normSpec('norm_layer', args.norm_layer),
    activation: activationName('act_layer', args.act_layer),
    init_values: read.number('init_values', 1e-4),
    depth_token_only: read.integer('depth_token_only', 2, 0),
    mlp_ratio_token_only: read.number('mlp_ratio_token_only', 4),
  };
  const { embed_dim, num_heads } = resolved;
  if (embed_dim % num_heads !== 0) {
    throw new UserError(`embed_dim ${embed_dim} is not divisible by num_heads ${num_heads}`);
  }
  return resolved;
}

const tokenStart: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's Cait ("Going deeper with Image Transformers", arXiv 2103.17239): blocks of talking heads among the patches,
 * then some in which the class token alone listens to them.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildCait(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = caitArgs(modelArgs);
  const { embed_dim: width, patch_size: patchSize, global_pool: pool } = args;
  const layers = new Layers('Cait', source);
  const images = layers.images(args.in_chans, args.img_size);
  const patches = patchEmbed(layers, 'patch_embed', images, { patchSize, width });
  let token = layers.parameter('cls_token', [1, 1, width], tokenStart);
  const position = layers.parameter('pos_embed', [1, patches.shape![1] as number, width], tokenStart);
  let x = layers.builder.op('Add', [patches, position], {}, 'embedded');
  for (let i = 0; i < args.depth; i++) {
    x = layers.scope(`blocks.${i}`, () => block(layers, x, args));
  }
  const beside = (): Value =>
    token.isConstant
      ? embedTokens(layers, x, [token], undefined)
      : layers.builder.op('Concat', [token, x], { axis: 1 }, 'all_tokens');
  for (let i = 0; i < args.depth_token_only; i++) {
    token = layers.scope(`blocks_token_only.${i}`, () => tokenBlock(layers, token, beside(), args));
  }
  const normed = layers.norm('norm', beside(), args.norm);
  const pooled =
    pool === 'token'
      ? tokenAt(layers, normed, 0)
      : pool === 'avg'
        ? meanOver(layers, withoutPrefix(layers, normed, 1), [1])
        : normed;
  return layers.finish(args.num_classes > 0 ? layers.linear('head', pooled, args.num_classes) : pooled);
}

const feed = (layers: Layers, x: Value, args: CaitArgs, ratio: number) =>
  mlp(
    layers,
    x,
    { kind: 'Mlp', activation: args.activation, gateLast: true },
    { hidden: Math.trunc(args.embed_dim * ratio), bias: true, norm: undefined },
  );

const scaled = (layers: Layers, x: Value, args: CaitArgs, index: 1 | 2) =>
  layers.channelScale(`gamma_${index}`, x, args.init_values);

function block(layers: Layers, x: Value, args: CaitArgs): Value {
  return preNormBlock(layers, x, {
    norm: args.norm,
    attend: (tokens) =>
      layers.scope('attn', () =>
        attention(layers, tokens, {
          heads: args.num_heads,
          qkvBias: args.qkv_bias,
          projBias: true,
          qkNorm: undefined,
          scaleNorm: undefined,
          onScores: (scores) => talk(layers, 'proj_l', scores),
          onWeights: (weights) => talk(layers, 'proj_w', weights),
        }),
      ),
    feed: (tokens) => feed(layers, tokens, args, args.mlp_ratio),
    scale: (branch, index) => scaled(layers, branch, args, index),
  });
}

/** A Linear over the heads of scores `[N, H, T, T]` ("Talking-Heads Attention", arXiv 2003.02436). */
function talk(layers: Layers, name: string, scores: Value): Value {
  const b = layers.builder;
  const last = b.op('Transpose', [scores], { perm: [0, 2, 3, 1] }, `${name}.heads_last`);
  const mixed = layers.linear(name, last, lastDim(last));
  return b.op('Transpose', [mixed], { perm: [0, 3, 1, 2] }, `${name}.heads_first`);
}

/** The class token `[N, 1, C]` after attention to itself and the patches, all of `tokens`, and an MLP of its own. */
function tokenBlock(layers: Layers, token: Value, tokens: Value, args: CaitArgs): Value {
  const b = layers.builder;
  const normed = layers.norm('norm1', tokens, args.norm);
  const attended = layers.scope('attn', () =>
    classAttention(layers, normed, { heads: args.num_heads, qkvBias: args.qkv_bias }),
  );
  const middle = b.op('Add', [token, scaled(layers, attended, args, 1)], {}, 'residual1');
  const fed = feed(layers, layers.norm('norm2', middle, args.norm), args, args.mlp_ratio_token_only);
  return b.op('Add', [middle, scaled(layers, fed, args, 2)], {}, 'residual2');
}
