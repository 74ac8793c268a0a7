import type { Graph, Value } from '../../../graph/graph.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { conv } from '../../layers/convolution.ts';
import { meanOfHeads } from '../../layers/head.ts';
import type { NormSpec } from '../../layers/layer-spec.ts';
import { dimOf, Layers, pytorchStart } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { leadingTokens, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import { vitBlock } from '../../layers/vit-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size patch_size stride base_dims depth heads mlp_ratio num_classes in_chans global_pool distilled';
const withoutEffect = 'stem_type drop_rate pos_drop_drate proj_drop_rate attn_drop_rate drop_path_rate';

function pitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const depth = read.integers('depth', [2, 6, 4], 0);
  const base_dims = read.integers('base_dims', [48, 48, 48]);
  const heads = read.integers('heads', [2, 4, 8]);
  checkStages({ depth, base_dims, heads });
  return {
    img_size: read.pair('img_size', 224),
    patch_size: read.integer('patch_size', 16, 1),
    stride: read.integer('stride', 8, 1),
    depth,
    base_dims,
    heads,
    mlp_ratio: read.number('mlp_ratio', 4),
    num_classes: read.integer('num_classes', 1000, 0),
    in_chans: read.integer('in_chans', 3, 1),
    global_pool: read.oneOf('global_pool', ['token'], 'token'),
    distilled: read.boolean('distilled', false),
  };
}
type PitArgs = ReturnType<typeof pitArgs>;

const norm: NormSpec = { kind: 'layer', epsilon: 1e-6 };
const positionStart: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's PoolingVisionTransformer ("Rethinking Spatial Dimensions of Vision Transformers", arXiv 2103.16302): a ViT
 * whose image is halved between stages by a depthwise convolution, its tokens by a Linear. Output `logits`
 * `[N, classes]`, the class token with `num_classes` 0; a distilled model says the mean of two.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildPit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = pitArgs(modelArgs);
  const { base_dims, heads, patch_size: kernel, stride, num_classes } = args;
  const layers = new Layers('PoolingVisionTransformer', source, pytorchStart);
  const width = base_dims[0]! * heads[0]!;
  const images = layers.images(args.in_chans, args.img_size);
  const patches = layers.scope('patch_embed', () => conv(layers, 'conv', images, width, { kernel, stride }));
  const position = layers.parameter('pos_embed', [1, ...patches.shape!.slice(1).map(Number)], positionStart);
  const count = args.distilled ? 2 : 1;
  let image = layers.builder.op('Add', [patches, position], {}, 'embedded');
  let prefix = layers.parameter('cls_token', [1, count, width], positionStart);
  args.depth.forEach((_, i) => {
    const tokens = layers.scope(`transformers.${i}`, () => transformer(layers, image, prefix, args, i));
    prefix = leadingTokens(layers, tokens.all, count);
    if (i < args.depth.length - 1) {
      image = tokensToImage(layers, withoutPrefix(layers, tokens.all, count), tokens.size);
    }
  });
  const normed = layers.norm('norm', prefix, norm);
  const outputs = ['head', 'head_dist'].slice(0, count).map((name, i) => {
    const token = tokenAt(layers, normed, i);
    return num_classes > 0 ? layers.linear(name, token, num_classes) : token;
  });
  return layers.finish(outputs.length > 1 ? meanOfHeads(layers, outputs as [Value, Value]) : outputs[0]!);
}

/** One stage: the tokens after it, the prefix first, and the size of the image that the others are. */
function transformer(layers: Layers, image: Value, prefix: Value, args: PitArgs, i: number) {
  const heads = args.heads[i]!;
  const [pooled, ownPrefix] =
    i === 0
      ? [image, prefix]
      : layers.scope('pool', () => halved(layers, image, prefix, args.base_dims[i]! * heads));
  const patches = imageToTokens(layers, pooled);
  let all =
    i === 0
      ? embedTokens(layers, patches, [ownPrefix], undefined)
      : layers.builder.op('Concat', [ownPrefix, patches], { axis: 1 }, 'all_tokens');
  for (let j = 0; j < args.depth[i]!; j++) {
    all = layers.scope(`blocks.${j}`, () => vitBlock(layers, all, { heads, mlpRatio: args.mlp_ratio, norm }));
  }
  return { all, size: [dimOf(pooled, 2), dimOf(pooled, 3)] as const };
}

function halved(layers: Layers, image: Value, prefix: Value, width: number): [Value, Value] {
  const groups = dimOf(image, 1);
  return [
    conv(layers, 'conv', image, width, { kernel: 3, stride: 2, padding: 1, groups }),
    layers.linear('fc', prefix, width),
  ];
}
