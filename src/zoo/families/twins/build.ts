import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { plainAttention } from '../../layers/attention.ts';
import { conv, fanOutStart } from '../../layers/convolution.ts';
import { type NormSpec, normSpec } from '../../layers/layer-spec.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { inPaddedWindows } from '../../layers/padded-windows.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { globalPools } from '../../layers/pool.ts';
import { reducedAttention, reduceTokens } from '../../layers/reduced-attention.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

type Size = readonly [height: number, width: number];

const known =
  'img_size patch_size in_chans num_classes global_pool embed_dims num_heads mlp_ratios depths sr_ratios wss norm_layer';
const withoutEffect = 'drop_rate pos_drop_rate proj_drop_rate attn_drop_rate drop_path_rate';

function twinsArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.integer('patch_size', 4, 1),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', ''], 'avg'),
    depths: read.integers('depths', [3, 4, 6, 3]),
    embed_dims: read.integers('embed_dims', [64, 128, 256, 512]),
    num_heads: read.integers('num_heads', [1, 2, 4, 8]),
    mlp_ratios: read.perStage('mlp_ratios', [4, 4, 4, 4]),
    sr_ratios: read.integers('sr_ratios', [8, 4, 2, 1]),
    wss: args.wss == null ? undefined : read.integers('wss', [7, 7, 7, 7]),
    norm: normSpec('norm_layer', args.norm_layer),
  };
  const { depths, embed_dims, num_heads, mlp_ratios, sr_ratios, wss = depths } = resolved;
  checkStages({ depths, embed_dims, num_heads, mlp_ratios, sr_ratios, wss });
  checkHeads(embed_dims, num_heads);
  const stride = resolved.patch_size * 2 ** (depths.length - 1);
  if (resolved.img_size.some((size) => size % stride !== 0)) {
    throw new UserError(
      `img_size ${resolved.img_size} is not a multiple of ${stride}, the stride of all stages`,
    );
  }
  return resolved;
}
type TwinsArgs = ReturnType<typeof twinsArgs>;

/** PyTorch's own epsilon, of the norms that `norm_layer` does not reach. */
const torchNorm: NormSpec = { kind: 'layer', epsilon: 1e-5 };

/**
 * timm's Twins ("Twins: Revisiting the Design of Spatial Attention", arXiv 2104.13840): PCPVT attends to a summary
 * of the image, SVT to windows and to such a summary by turns; a convolution after each stage's first block tells
 * positions. Output `logits` `[N, classes]`, the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildTwins(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = twinsArgs(modelArgs);
  const layers = new Layers('Twins', source);
  let image = layers.images(args.in_chans, args.img_size);
  let tokens = image;
  args.depths.forEach((depth, i) => {
    const patch = i === 0 ? args.patch_size : 2;
    const width = args.embed_dims[i]!;
    const size = [dimOf(image, 2) / patch, dimOf(image, 3) / patch] as const;
    tokens = patchEmbed(layers, `patch_embeds.${i}`, image, {
      patchSize: [patch, patch],
      width,
      norm: torchNorm,
      ...fanOutStart(patch, width),
    });
    for (let j = 0; j < depth; j++) {
      tokens = layers.scope(`blocks.${i}.${j}`, () => block(layers, tokens, args, i, j, size));
      if (j === 0) tokens = layers.scope(`pos_block.${i}`, () => withPositions(layers, tokens, size));
    }
    if (i < args.depths.length - 1) image = tokensToImage(layers, tokens, size);
  });
  const normed = layers.norm('norm', tokens, args.norm);
  const pooled = globalPools[args.global_pool](layers, normed, [1]);
  return layers.finish(args.num_classes > 0 ? layers.linear('head', pooled, args.num_classes) : pooled);
}

function block(layers: Layers, x: Value, args: TwinsArgs, i: number, j: number, size: Size): Value {
  const heads = args.num_heads[i]!;
  const ratio = args.sr_ratios[i]!;
  const window = j % 2 === 0 ? (args.wss?.[i] ?? 1) : 1;
  const reduce = ratio > 1 ? (tokens: Value) => reduceTokens(layers, tokens, size, ratio) : undefined;
  return preNormBlock(layers, x, {
    norm: args.norm,
    attend: (tokens) =>
      window > 1
        ? windowAttention(layers, tokens, heads, window, size)
        : layers.scope('attn', () => reducedAttention(layers, tokens, { heads, qkvBias: true, reduce })),
    feed: (tokens) => plainMlp(layers, tokens, Math.trunc(lastDim(x) * args.mlp_ratios[i]!)),
  });
}

function windowAttention(layers: Layers, x: Value, heads: number, window: number, size: Size): Value {
  const b = layers.builder;
  const image = b.op('Reshape', [x, b.ints([0, ...size, -1])], {}, 'image');
  const attended = inPaddedWindows(layers, image, window, (windows) =>
    plainAttention(layers, windows, heads),
  );
  return b.op('Reshape', [attended, b.ints([0, size[0] * size[1], -1])], {}, 'tokens');
}

function withPositions(layers: Layers, x: Value, size: Size): Value {
  const width = lastDim(x);
  const image = tokensToImage(layers, x, size);
  const seen = conv(layers, 'proj.0', image, width, {
    kernel: 3,
    padding: 1,
    groups: width,
    ...fanOutStart(3, width, width),
  });
  return imageToTokens(layers, layers.builder.op('Add', [seen, image], {}, 'positioned'));
}
