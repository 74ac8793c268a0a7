import type { Graph, Value } from '../../../graph/graph.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { joinHeads, scaledDotProduct, splitHeads } from '../../layers/attention.ts';
import { convNormAct } from '../../layers/convolution.ts';
import { distanceBias } from '../../layers/distance-bias.ts';
import { classifierHead } from '../../layers/head.ts';
import { activationName, type NormSpec } from '../../layers/layer-spec.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { channelsFirst, channelsLast } from '../../layers/layout.ts';
import { inPaddedWindows } from '../../layers/padded-windows.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size in_chans num_classes global_pool embed_dims depths num_heads window_sizes mlp_ratio mbconv_expand_ratio local_conv_size act_layer';
const withoutEffect = 'drop_rate drop_path_rate use_checkpoint';

function tinyVitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    embed_dims: read.integers('embed_dims', [96, 192, 384, 768]),
    depths: read.integers('depths', [2, 2, 6, 2], 0),
    num_heads: read.integers('num_heads', [3, 6, 12, 24]),
    window_sizes: read.integers('window_sizes', [7, 7, 14, 7]),
    mlp_ratio: read.number('mlp_ratio', 4),
    mbconv_expand_ratio: read.number('mbconv_expand_ratio', 4),
    local_conv_size: read.integer('local_conv_size', 3, 1),
    activation: activationName('act_layer', args.act_layer),
  };
  const { embed_dims, depths, num_heads, window_sizes } = resolved;
  checkStages({ embed_dims, depths, num_heads, window_sizes });
  checkHeads(embed_dims.slice(1), num_heads.slice(1));
  return resolved;
}
type TinyVitArgs = ReturnType<typeof tinyVitArgs>;

const torchNorm: NormSpec = { kind: 'layer', epsilon: 1e-5 };
const zeroStart = { weightInitializer: { kind: 'constant', value: 0 } } as const;

/**
 * timm's TinyVit ("TinyViT: Fast Pretraining Distillation for Small Vision Transformers", arXiv 2207.10666): a stage
 * of inverted bottlenecks, then three of attention within windows with a depthwise convolution after it. Output
 * `logits` `[N, classes]`, the pooled, normed features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildTinyVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = tinyVitArgs(modelArgs);
  const { embed_dims, activation } = args;
  const layers = new Layers('TinyVit', source);
  const strided = { kernel: 3, stride: 2, padding: 1 };
  let x = layers.scope('patch_embed', () => {
    const images = layers.images(args.in_chans, args.img_size);
    const half = convNormAct(layers, 'conv1', images, Math.floor(embed_dims[0]! / 2), {
      ...strided,
      activation,
    });
    return convNormAct(layers, 'conv2', half, embed_dims[0]!, strided);
  });
  args.depths.forEach((depth, i) => {
    layers.scope(`stages.${i}`, () => {
      if (i > 0)
        x = channelsLast(
          layers,
          layers.scope('downsample', () => merge(layers, x, args, embed_dims[i]!)),
        );
      for (let j = 0; j < depth; j++) {
        x = layers.scope(`blocks.${j}`, () =>
          i === 0 ? bottleneck(layers, x, args) : block(layers, x, args, i),
        );
      }
      if (i > 0) x = channelsFirst(layers, x);
    });
  });
  const { num_classes: classes, global_pool: pool } = args;
  return layers.finish(classifierHead(layers, 'head', x, { classes, pool, axes: [2, 3], norm: torchNorm }));
}

/** An inverted bottleneck with its residual, activated after. */
function bottleneck(layers: Layers, x: Value, { mbconv_expand_ratio, activation }: TinyVitArgs): Value {
  const width = dimOf(x, 1);
  const hidden = Math.trunc(width * mbconv_expand_ratio);
  const wide = convNormAct(layers, 'conv1', x, hidden, { kernel: 1, activation });
  const depthwise = convNormAct(layers, 'conv2', wide, hidden, {
    kernel: 3,
    padding: 1,
    groups: hidden,
    activation,
  });
  const narrow = convNormAct(layers, 'conv3', depthwise, width, { kernel: 1, norm: zeroStart });
  return layers.activation(layers.builder.op('Add', [narrow, x], {}, 'residual'), activation);
}

/** Half the image in another width. */
function merge(layers: Layers, x: Value, { activation }: TinyVitArgs, width: number): Value {
  const strided = { kernel: 3, stride: 2, padding: 1, groups: width, activation };
  const widened = convNormAct(layers, 'conv1', x, width, { kernel: 1, activation });
  return convNormAct(layers, 'conv3', convNormAct(layers, 'conv2', widened, width, strided), width, {
    kernel: 1,
  });
}

/** `[N, H, W, C] -> [N, H, W, C]`. */
function block(layers: Layers, x: Value, args: TinyVitArgs, i: number): Value {
  const b = layers.builder;
  const width = lastDim(x);
  const window = args.window_sizes[i]!;
  const attended = layers.scope('attn', () =>
    inPaddedWindows(layers, x, window, (windows) => attention(layers, windows, args.num_heads[i]!, window)),
  );
  const middle = b.op('Add', [x, attended], {}, 'residual1');
  const kernel = args.local_conv_size;
  const local = channelsLast(
    layers,
    convNormAct(layers, 'local_conv', channelsFirst(layers, middle), width, {
      kernel,
      padding: Math.floor(kernel / 2),
      groups: width,
    }),
  );
  const fed = layers.scope('mlp', () => {
    const hidden = layers.linear(
      'fc1',
      layers.norm('norm', local, torchNorm),
      Math.trunc(width * args.mlp_ratio),
    );
    return layers.linear('fc2', layers.activation(hidden, args.activation), width);
  });
  return b.op('Add', [local, fed], {}, 'residual2');
}

/** Each head's queries, keys and values are neighbours in the packed projection. */
function attention(layers: Layers, x: Value, heads: number, window: number): Value {
  const b = layers.builder;
  const width = lastDim(x);
  const packed = layers.linear('qkv', layers.norm('norm', x, torchNorm), 3 * width);
  const cut = b.node('Split', [splitHeads(layers, packed, heads)], { axis: -1, num_outputs: 3 }, 3, 'part');
  const biases = [distanceBias(layers, heads, [window, window])];
  const context = scaledDotProduct(layers, cut.output(0), cut.output(1), cut.output(2), { biases });
  return layers.linear('proj', joinHeads(layers, context), width);
}
