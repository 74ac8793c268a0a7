import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { batchNorm, type ConvOptions, conv } from '../../layers/convolution.ts';
import { meanOfHeads } from '../../layers/head.ts';
import { imageScale } from '../../layers/image-scale.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { unitLength } from '../../layers/normalize.ts';
import { meanOver } from '../../layers/pool.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size in_chans num_classes global_pool layers embed_dims mlp_ratios downsamples down_patch_size down_stride down_pad use_layer_scale layer_scale_init_value output_stride';

function swiftFormerArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), ['drop_rate', 'drop_path_rate']);
  const downsamples = args.downsamples ?? [false, true, true, true];
  if (!Array.isArray(downsamples) || !downsamples.every((flag) => typeof flag === 'boolean')) {
    throw new UserError(`downsamples is ${JSON.stringify(downsamples)}; it must be a list, one a stage`);
  }
  if (read.integer('output_stride', 32, 1) !== 32) throw new UserError('output_stride must be 32');
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg'], 'avg'),
    layers: read.integers('layers', [3, 3, 6, 4], 0),
    embed_dims: read.integers('embed_dims', [48, 56, 112, 220]),
    mlp_ratio: read.number('mlp_ratios', 4),
    downsamples: downsamples as readonly boolean[],
    /** Of the convolutions between stages. */
    down: {
      kernel: read.integer('down_patch_size', 3, 1),
      stride: read.integer('down_stride', 2, 1),
      padding: read.integer('down_pad', 1, 0),
    },
    layer_scale: read.boolean('use_layer_scale', true) && {
      attention: read.number('layer_scale_init_value', 1e-5),
    },
  };
  const { embed_dims, layers } = resolved;
  checkStages({ embed_dims, layers, downsamples });
  const stage = embed_dims.findIndex(
    (width, i) => !downsamples[i] && width !== embed_dims[Math.max(i - 1, 0)],
  );
  if (stage >= 0) throw new UserError(`stage ${stage} is of another width: downsamples must be true there`);
  return resolved;
}
type SwiftFormerArgs = ReturnType<typeof swiftFormerArgs>;

/** A convolution as the model starts them. */
const convolution = (layers: Layers, name: string, x: Value, channels: number, options: ConvOptions): Value =>
  conv(layers, name, x, channels, {
    weightInitializer: { kind: 'normal', std: 0.02 },
    biasInitializer: { kind: 'constant', value: 0 },
    ...options,
  });

/**
 * timm's SwiftFormer ("SwiftFormer: Efficient Additive Attention for Transformer-based Real-time Mobile Vision
 * Applications", arXiv 2303.15446): convolutions, and at the end of each stage an attention of keys with one query.
 * Output `logits` `[N, classes]`, the mean of two heads; the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildSwiftFormer(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = swiftFormerArgs(modelArgs);
  const layers = new Layers('SwiftFormer', source);
  const { embed_dims, num_classes: classes } = args;
  let x: Value = layers.images(args.in_chans, args.img_size);
  [Math.floor(embed_dims[0]! / 2), embed_dims[0]!].forEach((width, i) => {
    x = convolution(layers, `stem.${3 * i}`, x, width, { kernel: 3, stride: 2, padding: 1 });
    x = batchNorm(layers, `stem.${3 * i + 1}`, x);
    x = layers.scope(`stem.${3 * i + 2}`, () => layers.activation(x, 'relu'));
  });
  args.layers.forEach((depth, i) => {
    layers.scope(`stages.${i}`, () => {
      if (args.downsamples[i]) {
        const halved = convolution(layers, 'downsample.proj', x, embed_dims[i]!, args.down);
        x = batchNorm(layers, 'downsample.norm', halved);
      }
      for (let j = 0; j < depth; j++) {
        x = layers.scope(`blocks.${j}`, () =>
          j === depth - 1 ? attentionBlock(layers, x, args) : convEncoder(layers, x, args),
        );
      }
    });
  });
  const pooled = meanOver(layers, batchNorm(layers, 'norm', x), [2, 3]);
  if (classes === 0) return layers.finish(pooled);
  const heads = ['head', 'head_dist'].map((name) => layers.linear(name, pooled, classes));
  return layers.finish(meanOfHeads(layers, heads as [Value, Value]));
}

/** x + scale * branch. */
function residual(
  layers: Layers,
  name: string,
  x: Value,
  branch: Value,
  { layer_scale }: SwiftFormerArgs,
  start = 1,
): Value {
  const scaled = layer_scale ? imageScale(layers, name, branch, start, true) : branch;
  return layers.builder.op('Add', [x, scaled], {}, `${name}.residual`);
}

/** A depthwise convolution, and two over the channels. */
function convEncoder(
  layers: Layers,
  x: Value,
  args: SwiftFormerArgs,
  hidden = Math.trunc(dimOf(x, 1) * args.mlp_ratio),
): Value {
  const width = dimOf(x, 1);
  const near = convolution(layers, 'dwconv', x, width, { kernel: 3, padding: 1, groups: width });
  const normed = batchNorm(layers, 'norm', near);
  const wide = layers.activation(convolution(layers, 'pwconv1', normed, hidden, { kernel: 1 }), 'gelu');
  const narrow = convolution(layers, 'pwconv2', wide, width, { kernel: 1 });
  return residual(layers, 'layer_scale', x, narrow, args);
}

function attentionBlock(layers: Layers, image: Value, args: SwiftFormerArgs): Value {
  const width = dimOf(image, 1);
  const start = args.layer_scale ? args.layer_scale.attention : 1;
  const local = layers.scope('local_representation', () => convEncoder(layers, image, args, width));
  const attended = layers.scope('attn', () => additiveAttention(layers, local));
  const middle = residual(layers, 'layer_scale_1', local, attended, args, start);
  const fed = layers.scope('linear', () => {
    const normed = batchNorm(layers, 'norm1', middle);
    const hidden = convolution(layers, 'fc1', normed, Math.trunc(width * args.mlp_ratio), { kernel: 1 });
    return convolution(layers, 'fc2', layers.activation(hidden, 'gelu'), width, { kernel: 1 });
  });
  return residual(layers, 'layer_scale_2', middle, fed, args, start);
}

/**
 * Keys times one query, the sum of all queries weighed by a learned vector, and then each query itself:
 * `[N, C, H, W] -> [N, C, H, W]`, at a cost in proportion to the pixels.
 */
function additiveAttention(layers: Layers, image: Value): Value {
  const b = layers.builder;
  const size = [dimOf(image, 2), dimOf(image, 3)] as const;
  const tokens = imageToTokens(layers, image);
  const width = lastDim(tokens);
  const [query, key] = ['to_query', 'to_key'].map((name) =>
    unitLength(layers, layers.linear(name, tokens, width)),
  ) as [Value, Value];
  const direction = layers.parameter('w_g', [width, 1], { kind: 'normal', std: 1 });
  const products = b.op('MatMul', [query, direction], {}, 'weights');
  const scaled = b.op('Mul', [products, b.scalar(width ** -0.5)], {}, 'weights_scaled');
  const weights = b.op('Transpose', [unitLength(layers, scaled, 1)], { perm: [0, 2, 1] }, 'weights_t');
  const global = b.op('MatMul', [weights, query], {}, 'global_query');
  const projected = layers.linear('proj', b.op('Mul', [key, global], {}, 'context'), width);
  const output = layers.linear('final', b.op('Add', [projected, query], {}, 'with_query'), width);
  return tokensToImage(layers, output, size);
}
