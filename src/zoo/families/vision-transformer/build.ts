import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { attentionPool, refineTokens } from '../../layers/attention.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { type GlobalPoolName, globalPools, meanOver, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { countTokens, embedTokens, patchGrid, positionEmbedding } from '../../layers/prefix-tokens.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type GlobalPool, type VisionTransformerArgs, visionTransformerArgs } from './arguments.ts';
import { blocks } from './blocks.ts';

/** Image to patches `[N, P, embed_dim]`, in the scope `patch_embed`. */
export type Embedding = (layers: Layers, image: Value, args: VisionTransformerArgs) => Value;

const strided: Embedding = (layers, image, args) =>
  patchEmbed(layers, 'patch_embed', image, {
    patchSize: args.patch_size,
    width: args.embed_dim,
    bias: !args.pre_norm,
    norm: args.embed_norm,
  });

/**
 * timm's VisionTransformer ("An Image is Worth 16x16 Words", arXiv 2010.11929) with all its variations,
 * at one input size. Input `pixel_values` `[N, C, H, W]`; output `logits` `[N, classes]`, the pooled
 * features with `num_classes` 0, all tokens with `global_pool` ''.
 * @param embed timm's `embed_layer`
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildVisionTransformer(
  modelArgs: ModelArgs,
  source: ParameterSource,
  embed: Embedding = strided,
): Graph {
  const args = visionTransformerArgs(modelArgs);
  const layers = new Layers('VisionTransformer', source);
  const prefix = prefixTokens(layers, args);
  const tokens = encode(layers, args, prefix, embed);
  const pooled = normedPool(layers, tokens, args, countTokens(prefix));
  return layers.finish(args.num_classes > 0 ? layers.linear('head', pooled, args.num_classes) : pooled);
}

/**
 * DeiT with a distillation token and a second head ("Training data-efficient image transformers",
 * arXiv 2012.12877); the logits are the mean of both heads', as timm's are outside distillation.
 * @throws UserError as `buildVisionTransformer`
 */
export function buildVisionTransformerDistilled(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = visionTransformerArgs(modelArgs);
  if (args.global_pool !== 'token' || args.reg_tokens > 0 || args.no_embed_class || args.fc_norm) {
    throw new UserError(
      'a distilled model has global_pool "token" and no reg_tokens, no_embed_class or fc_norm',
    );
  }
  const layers = new Layers('VisionTransformerDistilled', source);
  const prefix = prefixTokens(layers, args);
  prefix.push(layers.parameter('dist_token', [1, 1, args.embed_dim], { kind: 'normal', std: 0.02 }));
  const tokens = encode(layers, args, prefix, strided);
  const outputs = ['head', 'head_dist'].map((name, index) => {
    const token = tokenAt(layers, tokens, index);
    return args.num_classes > 0 ? layers.linear(name, token, args.num_classes) : token;
  });
  const b = layers.builder;
  return layers.finish(b.op('Mul', [b.op('Add', outputs, {}, 'heads'), b.scalar(0.5)], {}, 'mean'));
}

/** Class and register tokens, in their order before the patches. */
function prefixTokens(layers: Layers, args: VisionTransformerArgs): Value[] {
  const tokens: Value[] = [];
  const add = (name: string, count: number) =>
    tokens.push(layers.parameter(name, [1, count, args.embed_dim], { kind: 'normal', std: 1e-6 }));
  if (args.class_token) add('cls_token', 1);
  if (args.reg_tokens) add('reg_token', args.reg_tokens);
  return tokens;
}

/** Image to encoded tokens `[N, T, C]`, the final norm included. */
function encode(
  layers: Layers,
  args: VisionTransformerArgs,
  prefix: readonly Value[],
  embed: Embedding,
): Value {
  const patches = embed(layers, layers.images(args.in_chans, args.img_size), args);
  let x = withPrefixAndPosition(layers, patches, args, prefix);
  if (args.pre_norm) x = layers.norm('norm_pre', x, args.norm);
  for (let depth = 0; depth < args.depth; depth++) {
    x = layers.scope(`blocks.${depth}`, () => blocks[args.block](layers, x, args, depth));
  }
  return args.final_norm && !args.fc_norm ? layers.norm('norm', x, args.norm) : x;
}

/** Patches with the prefix tokens before them and their positions added. */
function withPrefixAndPosition(
  layers: Layers,
  patches: Value,
  args: VisionTransformerArgs,
  prefix: readonly Value[],
): Value {
  const grid = patchGrid(dimOf(patches, 1), args.img_size, args.patch_size);
  const places = args.no_embed_class ? 0 : countTokens(prefix);
  const position = args.pos_embed
    ? positionEmbedding(layers, patches, grid, places, { kind: 'normal', std: 0.02 })
    : undefined;
  return embedTokens(layers, patches, prefix, position);
}

function normedPool(layers: Layers, tokens: Value, args: VisionTransformerArgs, prefixCount: number): Value {
  const pooled = pools[args.global_pool](layers, tokens, args, prefixCount);
  return args.final_norm && args.fc_norm ? layers.norm('fc_norm', pooled, args.norm) : pooled;
}

/** The tokens a pool reduces: the patches, and with `pool_include_prefix` all. */
const pooledTokens = (layers: Layers, x: Value, args: VisionTransformerArgs, prefixCount: number): Value =>
  withoutPrefix(layers, x, args.pool_include_prefix ? 0 : prefixCount);

const reduced =
  (name: GlobalPoolName): Pool =>
  (layers, x, args, prefixCount) =>
    globalPools[name](layers, pooledTokens(layers, x, args, prefixCount), [1]);

type Pool = (layers: Layers, x: Value, args: VisionTransformerArgs, prefixCount: number) => Value;

/** `[N, T, C] -> [N, C]`, by timm's `global_pool`. */
const pools: Record<GlobalPool, Pool> = {
  '': (_layers, x) => x,
  token: (layers, x) => tokenAt(layers, x, 0),
  avg: reduced('avg'),
  max: reduced('max'),
  avgmax: reduced('avgmax'),
  map: (layers, x, args, prefixCount) =>
    layers.scope('attn_pool', () =>
      attentionPool(layers, pooledTokens(layers, x, args, prefixCount), args.num_heads, args.norm, (pooled) =>
        mlp(
          layers,
          pooled,
          { kind: 'Mlp', activation: args.activation, gateLast: true },
          { hidden: Math.trunc(lastDim(pooled) * args.mlp_ratio), bias: true, norm: undefined },
        ),
      ),
    ),
  prr: (layers, x, args) =>
    layers.scope('attn_pool', () => {
      const refined = refineTokens(layers, x, args.num_heads);
      return args.class_token ? tokenAt(layers, refined, 0) : meanOver(layers, refined, [1]);
    }),
};
