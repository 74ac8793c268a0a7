import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { joinHeads, scaledDotProduct, splitHeads } from '../../layers/attention.ts';
import { batchNorm, conv } from '../../layers/convolution.ts';
import { distanceBias } from '../../layers/distance-bias.ts';
import { meanOfHeads } from '../../layers/head.ts';
import { imageScale } from '../../layers/image-scale.ts';
import { activationName, type NormSpec } from '../../layers/layer-spec.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { averagePool, globalPools } from '../../layers/pool.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size depths embed_dims in_chans num_classes global_pool num_vit mlp_ratios pool_size layer_scale_init_value act_layer';
const withoutEffect = 'drop_rate proj_drop_rate drop_path_rate';

/** The attention's own sizes, which timm leaves at their defaults. */
const heads = 8;
const keyWidth = 32;
const valueWidth = 4 * keyWidth;
const resolution = 7;

function efficientFormerArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const resolved = {
    img_size: read.pair('img_size', 224),
    depths: read.integers('depths', [3, 2, 6, 4]),
    embed_dims: read.integers('embed_dims', [48, 96, 224, 448]),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', ''], 'avg'),
    num_vit: read.integer('num_vit', 0, 0),
    mlp_ratio: read.number('mlp_ratios', 4),
    pool_size: read.integer('pool_size', 3, 1),
    layer_scale: read.number('layer_scale_init_value', 1e-5),
    activation: activationName('act_layer', args.act_layer),
  };
  const { depths, embed_dims, num_vit, img_size } = resolved;
  checkStages({ depths, embed_dims });
  if (num_vit < 1) throw new UserError('num_vit 0 leaves an image for the norm of tokens; use 1 or more');
  const stride = 2 ** (depths.length + 1);
  if (img_size.some((size) => Math.ceil(size / stride) !== resolution)) {
    throw new UserError(
      `images of ${img_size} end in other than ${resolution} x ${resolution} tokens, which the attention is made for`,
    );
  }
  return resolved;
}
type EfficientFormerArgs = ReturnType<typeof efficientFormerArgs>;

const torchNorm: NormSpec = { kind: 'layer', epsilon: 1e-5 };

/**
 * timm's EfficientFormer ("EfficientFormer: Vision Transformers at MobileNet Speed", arXiv 2206.01191): blocks that
 * pool instead of attending, and attention for the last `num_vit`. Output `logits` `[N, classes]`, the mean of two
 * heads; the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildEfficientFormer(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = efficientFormerArgs(modelArgs);
  const layers = new Layers('EfficientFormer', source);
  const strided = { kernel: 3, stride: 2, padding: 1 };
  let x = layers.images(args.in_chans, args.img_size);
  layers.scope('stem', () => {
    [Math.floor(args.embed_dims[0]! / 2), args.embed_dims[0]!].forEach((width, i) => {
      const normed = batchNorm(layers, `norm${i + 1}`, conv(layers, `conv${i + 1}`, x, width, strided));
      x = layers.scope(`act${i + 1}`, () => layers.activation(normed, 'relu'));
    });
  });
  args.depths.forEach((_, i) => {
    layers.scope(`stages.${i}`, () => {
      if (i > 0) {
        x = layers.scope('downsample', () =>
          batchNorm(layers, 'norm', conv(layers, 'conv', x, args.embed_dims[i]!, strided)),
        );
      }
      x = stage(layers, x, args, i);
    });
  });
  const pooled = globalPools[args.global_pool](layers, layers.norm('norm', x, torchNorm), [1]);
  if (args.num_classes === 0) return layers.finish(pooled);
  const outputs = ['head', 'head_dist'].map((name) => layers.linear(name, pooled, args.num_classes));
  return layers.finish(meanOfHeads(layers, outputs as [Value, Value]));
}

/** The blocks of a stage. Where images become tokens is a module too, and counts among them. */
function stage(layers: Layers, image: Value, args: EfficientFormerArgs, i: number): Value {
  const depth = args.depths[i]!;
  const ofTokens = i === args.depths.length - 1 ? Math.min(args.num_vit, depth) : 0;
  let x = image;
  for (let j = 0; j < depth - ofTokens; j++) {
    x = layers.scope(`blocks.${j}`, () => imageBlock(layers, x, args));
  }
  if (ofTokens > 0) x = imageToTokens(layers, x);
  for (let j = depth - ofTokens; j < depth; j++) {
    x = layers.scope(`blocks.${j + 1}`, () => tokenBlock(layers, x, args));
  }
  return x;
}

function imageBlock(layers: Layers, x: Value, args: EfficientFormerArgs): Value {
  const b = layers.builder;
  const { pool_size: kernel } = args;
  const width = dimOf(x, 1);
  const window = { kernel, stride: 1, padding: Math.floor(kernel / 2), countPadding: false };
  const mixed = b.op('Sub', [averagePool(layers, x, window), x], {}, 'pooled_difference');
  const middle = b.op('Add', [x, imageScale(layers, 'ls1', mixed, args.layer_scale)], {}, 'residual1');
  const fed = layers.scope('mlp', () => {
    const hidden = conv(layers, 'fc1', middle, Math.trunc(width * args.mlp_ratio), { kernel: 1 });
    const active = layers.activation(batchNorm(layers, 'norm1', hidden), args.activation);
    return batchNorm(layers, 'norm2', conv(layers, 'fc2', active, width, { kernel: 1 }));
  });
  return b.op('Add', [middle, imageScale(layers, 'ls2', fed, args.layer_scale)], {}, 'residual2');
}

function tokenBlock(layers: Layers, x: Value, args: EfficientFormerArgs): Value {
  return preNormBlock(layers, x, {
    norm: torchNorm,
    attend: (tokens) => layers.scope('token_mixer', () => attention(layers, tokens)),
    feed: (tokens) => plainMlp(layers, tokens, Math.trunc(lastDim(x) * args.mlp_ratio), args.activation),
    scale: (branch, index) => layers.layerScale(`ls${index}`, branch, args.layer_scale),
  });
}

function attention(layers: Layers, x: Value): Value {
  const b = layers.builder;
  const packed = layers.linear('qkv', x, heads * (2 * keyWidth + valueWidth));
  const widths = b.ints([keyWidth, keyWidth, valueWidth]);
  const cut = b.node('Split', [splitHeads(layers, packed, heads), widths], { axis: -1 }, 3, 'part');
  const biases = [distanceBias(layers, heads, [resolution, resolution], 1, true)];
  const context = scaledDotProduct(layers, cut.output(0), cut.output(1), cut.output(2), { biases });
  return layers.linear('proj', joinHeads(layers, context), lastDim(x));
}
