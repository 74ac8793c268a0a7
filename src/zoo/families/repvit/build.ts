import type { Graph, Value } from '../../../graph/graph.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { batchNorm, type ConvOptions, conv, convNormAct } from '../../layers/convolution.ts';
import { batchNormHead, meanOfHeads } from '../../layers/head.ts';
import { type ActivationName, activationName } from '../../layers/layer-spec.ts';
import { dimOf, Layers } from '../../layers/layers.ts';
import { meanOver } from '../../layers/pool.ts';
import { reducedChannels, squeezeExcite } from '../../layers/squeeze-excite.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size in_chans num_classes embed_dim depth mlp_ratio global_pool kernel_size act_layer distillation legacy';

function repVitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), ['drop_rate']);
  const embed_dim = read.integers('embed_dim', [48]);
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    embed_dim,
    depth: read.integers('depth', [2], 0),
    mlp_ratio: read.perStage(
      'mlp_ratio',
      embed_dim.map(() => 2),
    ),
    global_pool: read.oneOf('global_pool', ['avg'], 'avg'),
    kernel_size: read.integer('kernel_size', 3, 1),
    activation: activationName('act_layer', args.act_layer),
    distillation: read.boolean('distillation', true),
    legacy: read.boolean('legacy', false),
  };
  checkStages({ embed_dim, depth: resolved.depth, mlp_ratio: resolved.mlp_ratio });
  return resolved;
}
type RepVitArgs = ReturnType<typeof repVitArgs>;

/**
 * timm's RepVit ("RepViT: Revisiting Mobile CNN From ViT Perspective", arXiv 2307.09283): blocks laid out as a ViT's,
 * whose tokens are mixed by parallel depthwise convolutions. Output `logits` `[N, classes]`, the mean of two heads
 * with `distillation`; the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildRepVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = repVitArgs(modelArgs);
  const layers = new Layers('RepVit', source);
  const [width] = args.embed_dim;
  const strided = { kernel: 3, stride: 2, padding: 1 };
  let x = layers.scope('stem', () => {
    const images = layers.images(args.in_chans, args.img_size);
    const half = convNorm(layers, 'conv1', images, Math.floor(width! / 2), strided, args.activation);
    return convNorm(layers, 'conv2', half, width!, strided);
  });
  args.depth.forEach((depth, i) => {
    layers.scope(`stages.${i}`, () => {
      if (i > 0) x = layers.scope('downsample', () => downsample(layers, x, args, i));
      for (let j = 0; j < depth; j++) {
        x = layers.scope(`blocks.${j}`, () => block(layers, x, args, args.mlp_ratio[i]!, j % 2 === 0));
      }
    });
  });
  const features = meanOver(layers, x, [2, 3]);
  const names = args.distillation ? ['head.head', 'head.head_dist'] : ['head.head'];
  const heads = names.map((name) => batchNormHead(layers, name, features, args.num_classes, 'l'));
  return layers.finish(args.distillation ? meanOfHeads(layers, heads as [Value, Value]) : heads[0]!);
}

const convNorm = (
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  options: ConvOptions,
  activation?: ActivationName,
  weight = 1,
): Value =>
  convNormAct(layers, name, x, channels, {
    ...options,
    activation,
    names: ['c', 'bn'],
    norm: { weightInitializer: { kind: 'constant', value: weight } },
  });

/** Two depthwise convolutions and the image itself, added up. */
function mixTokens(layers: Layers, x: Value, { kernel_size: kernel, legacy }: RepVitArgs): Value {
  const b = layers.builder;
  const groups = dimOf(x, 1);
  const wide = convNorm(layers, 'conv', x, groups, { kernel, padding: Math.floor((kernel - 1) / 2), groups });
  const single = { kernel: 1, groups };
  const narrow = legacy
    ? convNorm(layers, 'conv1', x, groups, single)
    : conv(layers, 'conv1', x, groups, single);
  const sum = b.op('Add', [b.op('Add', [wide, narrow], {}, 'both'), x], {}, 'all');
  return legacy ? sum : batchNorm(layers, 'bn', sum);
}

function feedForward(
  layers: Layers,
  name: string,
  x: Value,
  ratio: number,
  activation: ActivationName,
): Value {
  const width = dimOf(x, 1);
  const fed = layers.scope(name, () => {
    const hidden = convNorm(layers, 'conv1', x, Math.trunc(width * ratio), { kernel: 1 }, activation);
    return convNorm(layers, 'conv2', hidden, width, { kernel: 1 }, undefined, 0);
  });
  return layers.builder.op('Add', [x, fed], {}, `${name}_residual`);
}

function block(layers: Layers, x: Value, args: RepVitArgs, ratio: number, excite: boolean): Value {
  const mixed = layers.scope('token_mixer', () => mixTokens(layers, x, args));
  const weighed = excite
    ? squeezeExcite(layers, 'se', mixed, { reduced: reducedChannels(dimOf(x, 1), 1 / 4) })
    : mixed;
  return feedForward(layers, 'channel_mixer', weighed, ratio, args.activation);
}

function downsample(layers: Layers, x: Value, args: RepVitArgs, i: number): Value {
  const { kernel_size: kernel, activation } = args;
  const [ratio, width] = [args.mlp_ratio[i]!, args.embed_dim[i]!];
  const before = layers.scope('pre_block', () => block(layers, x, args, ratio, false));
  const groups = dimOf(x, 1);
  const padding = Math.floor((kernel - 1) / 2);
  const halved = convNorm(layers, 'spatial_downsample', before, groups, {
    kernel,
    stride: 2,
    padding,
    groups,
  });
  const widened = convNorm(layers, 'channel_downsample', halved, width, { kernel: 1 });
  return feedForward(layers, 'ffn', widened, ratio, activation);
}
