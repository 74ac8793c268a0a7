import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { attention } from '../../layers/attention.ts';
import { conv } from '../../layers/convolution.ts';
import { activationName, normSpec } from '../../layers/layer-spec.ts';
import {
  dimOf,
  Layers,
  type LinearStart,
  lastDim,
  linearInitializer,
  timmStart,
} from '../../layers/layers.ts';
import { channelsFirst, channelsLast, windowPartition, windowReverse } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { imagePatches } from '../../layers/patch-embed.ts';
import { globalPools, maxPool } from '../../layers/pool.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

const known = [
  'img_size in_chans patch_size num_levels embed_dims num_heads depths num_classes mlp_ratio qkv_bias norm_layer',
  'act_layer pad_type weight_init global_pool',
]
  .join(' ')
  .split(' ');
const withoutEffect = 'drop_rate proj_drop_rate attn_drop_rate drop_path_rate'.split(' ');

function nestArgs(args: ModelArgs) {
  const read = readArguments(args, known, withoutEffect);
  const levels = read.integer('num_levels', 3, 1);
  /** One number is that of all levels. */
  const perLevel = (name: string, fallback: readonly number[]) => {
    const list = read.integers(name, fallback);
    return Array.isArray(args[name] ?? fallback) ? list : Array<number>(levels).fill(list[0]!);
  };
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    patch_size: read.integer('patch_size', 4, 1),
    embed_dims: perLevel('embed_dims', [128, 256, 512]),
    num_heads: perLevel('num_heads', [4, 8, 16]),
    depths: perLevel('depths', [2, 2, 20]),
    num_classes: read.integer('num_classes', 1000, 0),
    mlp_ratio: read.number('mlp_ratio', 4),
    qkv_bias: read.boolean('qkv_bias', true),
    norm: normSpec('norm_layer', args.norm_layer),
    activation: activationName('act_layer', args.act_layer),
    pad_type: read.oneOf('pad_type', ['', 'same'], ''),
    weight_init: read.oneOf('weight_init', ['', 'nlhb'], ''),
    global_pool: read.oneOf('global_pool', ['', 'avg', 'max', 'avgmax'], 'avg'),
  };
  const { img_size, patch_size, embed_dims, num_heads, depths } = resolved;
  checkStages({ num_levels: Array<number>(levels).fill(0), embed_dims, num_heads, depths });
  checkHeads(embed_dims, num_heads);
  const stride = patch_size * 2 ** (levels - 1);
  if (img_size[0] !== img_size[1] || img_size[0] % stride !== 0) {
    throw new UserError(
      `img_size ${img_size} must be square and a multiple of ${stride}, the stride of all levels`,
    );
  }
  if (resolved.global_pool === '' && resolved.num_classes > 0) {
    throw new UserError('global_pool "" leaves an image, which has no classes; set num_classes 0');
  }
  return resolved;
}
type NestArgs = ReturnType<typeof nestArgs>;

/**
 * timm's Nest ("Nested Hierarchical Transformer", arXiv 2105.12723): attention within blocks of the image, of which
 * four become one from level to level. Output `logits` `[N, classes]`, the pooled features with `num_classes` 0, the
 * last image with `global_pool` '' too.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildNest(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = nestArgs(modelArgs);
  const layers = new Layers('Nest', source, linearStart(args));
  let image = imagePatches(layers, 'patch_embed', layers.images(args.in_chans, args.img_size), {
    patchSize: [args.patch_size, args.patch_size],
    width: args.embed_dims[0]!,
    weightInitializer: linearInitializer,
    biasInitializer: { kind: 'constant', value: 0 },
  });
  const block = dimOf(image, 1) / 2 ** (args.depths.length - 1);
  args.depths.forEach((_, i) => {
    image = layers.scope(`levels.${i}`, () => level(layers, image, args, i, block));
  });
  const normed = layers.norm('norm', image, args.norm);
  if (!args.global_pool) return layers.finish(channelsFirst(layers, normed));
  const pooled = globalPools[args.global_pool](layers, normed, [1, 2]);
  return layers.finish(args.num_classes > 0 ? layers.linear('head', pooled, args.num_classes) : pooled);
}

/** With `weight_init` "nlhb" the head starts with the likelihood of classes that are equally many. */
function linearStart({ weight_init, num_classes }: NestArgs): LinearStart {
  return (name, inputs, outputs) => {
    const start = timmStart(name, inputs, outputs);
    if (name !== 'head' || weight_init !== 'nlhb') return start;
    return { ...start, bias: { kind: 'constant', value: -Math.log(num_classes) } };
  };
}

/** timm's `NestLevel`: `[N, H, W, C]`, half the size but for the first. */
function level(layers: Layers, x: Value, args: NestArgs, i: number, block: number): Value {
  const b = layers.builder;
  const image = i > 0 ? layers.scope('pool', () => halved(layers, x, args, i)) : x;
  const size = [dimOf(image, 1), dimOf(image, 2)] as const;
  const count = (size[0] / block) * (size[1] / block);
  const [pixels, width] = [block * block, lastDim(image)];
  const position = layers.parameter('pos_embed', [1, count, pixels, width], { kind: 'normal', std: 0.02 });
  const blocks = windowPartition(layers, image, [block, block]);
  const byImage = b.op('Reshape', [blocks, b.ints([-1, count, pixels, width])], {}, 'by_image');
  const positioned = b.op('Add', [byImage, position], {}, 'positioned');
  let tokens = b.op('Reshape', [positioned, b.ints([-1, pixels, width])], {}, 'blocks');
  for (let j = 0; j < args.depths[i]!; j++) {
    tokens = layers.scope(`transformer_encoder.${j}`, () => layer(layers, tokens, args, args.num_heads[i]!));
  }
  return windowReverse(layers, tokens, [block, block], size);
}

function layer(layers: Layers, x: Value, args: NestArgs, heads: number): Value {
  return preNormBlock(layers, x, {
    norm: args.norm,
    attend: (tokens) =>
      layers.scope('attn', () =>
        attention(layers, tokens, {
          heads,
          qkvBias: args.qkv_bias,
          projBias: true,
          qkNorm: undefined,
          scaleNorm: undefined,
          interleaved: true,
        }),
      ),
    feed: (tokens) => plainMlp(layers, tokens, Math.trunc(lastDim(x) * args.mlp_ratio), args.activation),
  });
}

/** timm's `ConvPool`. */
function halved(layers: Layers, x: Value, { embed_dims, norm, pad_type }: NestArgs, i: number): Value {
  const convolved = conv(layers, 'conv', channelsFirst(layers, x), embed_dims[i]!, {
    kernel: 3,
    padding: 1,
    weightInitializer: linearInitializer,
    biasInitializer: { kind: 'constant', value: 0 },
  });
  const normed = layers.channelNorm('norm', convolved, norm);
  const padding = pad_type === 'same' ? 'same' : 1;
  return channelsLast(layers, maxPool(layers, normed, { kernel: 3, stride: 2, padding }));
}
