import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { conv, fanOutStart } from '../../layers/convolution.ts';
import { type NormSpec, normSpec } from '../../layers/layer-spec.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { adaptiveAveragePool, meanOver } from '../../layers/pool.ts';
import { reducedAttention, reduceTokens } from '../../layers/reduced-attention.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

type Size = readonly [height: number, width: number];

const known =
  'img_size in_chans num_classes global_pool depths embed_dims num_heads sr_ratios mlp_ratios qkv_bias linear norm_layer';
const withoutEffect = 'drop_rate proj_drop_rate attn_drop_rate drop_path_rate';

function pvtArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const depths = read.integers('depths', [3, 4, 6, 3], 0);
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', ''], 'avg'),
    depths,
    embed_dims: read.integers('embed_dims', [64, 128, 256, 512]),
    num_heads: read.integers('num_heads', [1, 2, 4, 8]),
    sr_ratios: read.integers('sr_ratios', [8, 4, 2, 1]),
    mlp_ratios: read.perStage('mlp_ratios', [8, 8, 4, 4]),
    qkv_bias: read.boolean('qkv_bias', true),
    linear: read.boolean('linear', false),
    norm: normSpec('norm_layer', args.norm_layer),
  };
  const { embed_dims, num_heads, sr_ratios, mlp_ratios } = resolved;
  checkStages({ depths, embed_dims, num_heads, sr_ratios, mlp_ratios });
  checkHeads(embed_dims, num_heads);
  if (resolved.global_pool === '' && resolved.num_classes > 0) {
    throw new UserError('global_pool "" leaves an image, which has no classes; set num_classes 0');
  }
  return resolved;
}
type PvtArgs = ReturnType<typeof pvtArgs>;

/** PyTorch's own epsilon, of the norms that `norm_layer` does not reach. */
const torchNorm: NormSpec = { kind: 'layer', epsilon: 1e-5 };

/**
 * timm's PyramidVisionTransformerV2 ("PVT v2", arXiv 2106.13797): four stages of attention to a summary of the
 * image, a depthwise convolution in each MLP instead of positions. Output `logits` `[N, classes]`, the pooled
 * features with `num_classes` 0, the last stage's image with `global_pool` '' too.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildPvtV2(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = pvtArgs(modelArgs);
  const layers = new Layers('PyramidVisionTransformerV2', source);
  let image = layers.images(args.in_chans, args.img_size);
  args.depths.forEach((_, i) => {
    image = stage(layers, image, args, i);
  });
  const pooled = args.global_pool ? meanOver(layers, image, [2, 3]) : image;
  return layers.finish(args.num_classes > 0 ? layers.linear('head', pooled, args.num_classes) : pooled);
}

function stage(layers: Layers, image: Value, args: PvtArgs, i: number): Value {
  const width = args.embed_dims[i]!;
  const [kernel, stride] = i === 0 ? [7, 4] : [3, 2];
  const size = [2, 3].map((axis) => Math.ceil(dimOf(image, axis) / stride)) as unknown as Size;
  const name = i === 0 ? 'patch_embed' : `stages.${i}.downsample`;
  let x = patchEmbed(layers, name, image, {
    patchSize: [kernel, kernel],
    stride,
    padding: Math.floor(kernel / 2),
    width,
    norm: torchNorm,
    ...fanOutStart(kernel, width),
  });
  return layers.scope(`stages.${i}`, () => {
    for (let j = 0; j < args.depths[i]!; j++) {
      x = layers.scope(`blocks.${j}`, () => block(layers, x, args, i, size));
    }
    return tokensToImage(layers, layers.norm('norm', x, args.norm), size);
  });
}

function block(layers: Layers, x: Value, args: PvtArgs, i: number, size: Size): Value {
  const b = layers.builder;
  const normed = layers.norm('norm1', x, args.norm);
  const attended = layers.scope('attn', () =>
    reducedAttention(layers, normed, {
      heads: args.num_heads[i]!,
      qkvBias: args.qkv_bias,
      reduce: reduction(layers, args, i, size),
    }),
  );
  const middle = b.op('Add', [x, attended], {}, 'residual1');
  const hidden = Math.trunc(lastDim(x) * args.mlp_ratios[i]!);
  const normedAgain = layers.norm('norm2', middle, args.norm);
  const fed = layers.scope('mlp', () => feedForward(layers, normedAgain, hidden, args, size));
  return b.op('Add', [middle, fed], {}, 'residual2');
}

/** The tokens of keys and values: with `linear` always 7 x 7, else fewer by the stage's ratio. */
function reduction(layers: Layers, args: PvtArgs, i: number, size: Size) {
  const ratio = args.sr_ratios[i]!;
  if (args.linear) {
    return (x: Value) => {
      const pooled = (image: Value) => adaptiveAveragePool(layers, image, [7, 7]);
      return layers.activation(reduceTokens(layers, x, size, 1, pooled), 'gelu');
    };
  }
  return ratio > 1 ? (x: Value) => reduceTokens(layers, x, size, ratio) : undefined;
}

/** An MLP whose hidden units see their neighbours. */
function feedForward(layers: Layers, x: Value, hidden: number, args: PvtArgs, size: Size): Value {
  let units = tokensToImage(layers, layers.linear('fc1', x, hidden), size);
  if (args.linear) units = layers.scope('relu', () => layers.activation(units, 'relu'));
  const mixed = conv(layers, 'dwconv', units, hidden, {
    kernel: 3,
    padding: 1,
    groups: hidden,
    ...fanOutStart(3, hidden, hidden),
  });
  const active = layers.activation(imageToTokens(layers, mixed), 'gelu');
  return layers.linear('fc2', active, lastDim(x));
}
