import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { readArguments } from '../../arguments.ts';
import { scaledDotProduct } from '../../layers/attention.ts';
import { batchNorm, type ConvOptions, conv } from '../../layers/convolution.ts';
import { joinImageHeads, splitImageHeads } from '../../layers/image-heads.ts';
import { dimOf, Layers } from '../../layers/layers.ts';
import { globalPools } from '../../layers/pool.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size patch_size in_chans num_classes init_channels embed_dim depth num_heads mlp_ratio norm_layer attn_stage use_pos_embed spatial_conv group global_pool conv_init embed_norm vit_stem';
const withoutEffect = 'drop_rate pos_drop_rate proj_drop_rate attn_drop_rate drop_path_rate';

function visformerArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const flags = (name: string, fallback: string) => {
    const value = args[name] ?? fallback;
    if (typeof value !== 'string' || !/^[01]{3}$/.test(value)) {
      throw new UserError(`${name} is ${JSON.stringify(value)}; it must be three of 0 and 1, one a stage`);
    }
    return [...value].map((digit) => digit === '1');
  };
  /** Whether there is a norm, which must be a BatchNorm. */
  const normed = (name: string) =>
    args[name] != null && read.layer(name, ['BatchNorm2d'], 'BatchNorm2d') !== undefined;
  if (!normed('norm_layer')) throw new UserError('norm_layer must be BatchNorm2d here');
  if (read.boolean('vit_stem', false)) throw new UserError('vit_stem is not built here');
  if (args.init_channels === null) throw new UserError('init_channels null is not built here');
  const depth = Array.isArray(args.depth)
    ? read.integers('depth', [4, 4, 4], 0)
    : thirds(read.integer('depth', 12, 0));
  if (depth.length !== 3) throw new UserError(`depth is of 3 stages, not ${depth.length}`);
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.integer('patch_size', 16, 8),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    init_channels: read.integer('init_channels', 32, 1),
    embed_dim: read.integer('embed_dim', 384, 2),
    depth,
    num_heads: read.integer('num_heads', 6, 1),
    mlp_ratio: read.number('mlp_ratio', 4),
    embed_norm: normed('embed_norm'),
    attn_stage: flags('attn_stage', '111'),
    spatial_conv: flags('spatial_conv', '111'),
    use_pos_embed: read.boolean('use_pos_embed', true),
    group: read.integer('group', 8, 1),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    conv_init: read.boolean('conv_init', false),
  };
  if (resolved.img_size.some((size) => size % (2 * resolved.patch_size) !== 0)) {
    throw new UserError(`img_size ${resolved.img_size} is not a multiple of ${2 * resolved.patch_size}`);
  }
  return resolved;
}
type VisformerArgs = ReturnType<typeof visformerArgs>;

/** A depth for each stage, the middle one takes what is left. */
function thirds(depth: number): number[] {
  const third = Math.floor(depth / 3);
  return [third, depth - 2 * third, third];
}

/**
 * timm's Visformer ("Visformer: The Vision-friendly Transformer", arXiv 2104.12533): three stages of 1x1 convolutions,
 * with grouped 3x3 ones or attention. Output `logits` `[N, classes]`, the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildVisformer(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = visformerArgs(modelArgs);
  const layers = new Layers('Visformer', source);
  const convolution = convolutions(layers, args);
  const stem = convolution('stem.0', layers.images(args.in_chans, args.img_size), args.init_channels, {
    kernel: 7,
    stride: 2,
    padding: 3,
    bias: false,
  });
  let x = layers.scope('stem', () => layers.activation(batchNorm(layers, '1', stem), 'relu'));
  args.depth.forEach((depth, i) => {
    const width = (args.embed_dim / 2) * 2 ** i;
    const kernel = args.patch_size / (i === 0 ? 4 : 8);
    x = convolution(`patch_embed${i + 1}.proj`, x, width, { kernel, stride: kernel });
    if (args.embed_norm) x = batchNorm(layers, `patch_embed${i + 1}.norm`, x);
    if (args.use_pos_embed) {
      const shape = [1, width, dimOf(x, 2), dimOf(x, 3)];
      const position = layers.parameter(`pos_embed${i + 1}`, shape, { kind: 'normal', std: 0.02 });
      x = layers.builder.op('Add', [x, position], {}, `positioned${i + 1}`);
    }
    for (let j = 0; j < depth; j++) {
      x = layers.scope(`stage${i + 1}.${j}`, () => block(layers, x, args, i));
    }
  });
  const pooled = globalPools[args.global_pool](layers, batchNorm(layers, 'norm', x), [2, 3]);
  return layers.finish(args.num_classes > 0 ? layers.linear('head', pooled, args.num_classes) : pooled);
}

/** Convolutions that start as the model's do: by their fan out, or at 0.02. */
const convolutions =
  (layers: Layers, { conv_init }: VisformerArgs) =>
  (name: string, x: Value, channels: number, options: ConvOptions): Value => {
    const area = Array.isArray(options.kernel) ? 1 : (options.kernel as number) ** 2;
    const weight: Initializer = {
      kind: 'normal',
      std: conv_init ? Math.sqrt(2 / (channels * area)) : 0.02,
    };
    return conv(layers, name, x, channels, {
      weightInitializer: weight,
      biasInitializer: { kind: 'constant', value: 0 },
      ...options,
    });
  };

function block(layers: Layers, input: Value, args: VisformerArgs, i: number): Value {
  const b = layers.builder;
  const width = dimOf(input, 1);
  const convolution = convolutions(layers, args);
  const pointwise = { kernel: 1, bias: false };
  let x = input;
  if (args.attn_stage[i]) {
    const heads = args.num_heads;
    const headWidth = Math.round(Math.floor(width / heads) * (i === 0 ? 0.5 : 1));
    const normed = batchNorm(layers, 'norm1', x);
    const attended = layers.scope('attn', () => {
      const packed = convolution('qkv', normed, 3 * heads * headWidth, pointwise);
      const cut = b.node('Split', [packed], { axis: 1, num_outputs: 3 }, 3, 'part');
      const [q, k, v] = [0, 1, 2].map((part) => splitImageHeads(layers, cut.output(part), heads));
      const size = [dimOf(x, 2), dimOf(x, 3)] as const;
      const context = scaledDotProduct(layers, q!, k!, v!);
      return convolution('proj', joinImageHeads(layers, context, size), width, pointwise);
    });
    x = b.op('Add', [x, attended], {}, 'residual1');
  }
  const normed = batchNorm(layers, 'norm2', x);
  const fed = layers.scope('mlp', () => {
    const hidden = hiddenUnits(args, i, width);
    let units = layers.activation(convolution('conv1', normed, hidden, pointwise), 'gelu');
    if (args.spatial_conv[i]) {
      const grouped = { kernel: 3, padding: 1, groups: args.group, bias: false };
      units = layers.activation(convolution('conv2', units, hidden, grouped), 'gelu');
    }
    return convolution('conv3', units, width, pointwise);
  });
  return b.op('Add', [x, fed], {}, 'residual2');
}

/** Units between the convolutions of an MLP; with a 3x3 one there are fewer. */
function hiddenUnits(args: VisformerArgs, i: number, width: number): number {
  if (!args.spatial_conv[i]) return Math.trunc(width * args.mlp_ratio);
  return args.group < 2 ? Math.floor((width * 5) / 6) : 2 * width;
}
