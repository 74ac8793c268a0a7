import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { bounded } from '../../bounded.ts';
import { classAttention } from '../../layers/class-attention.ts';
import { type ConvOptions, conv } from '../../layers/convolution.ts';
import { meanOfHeads } from '../../layers/head.ts';
import { normSpec } from '../../layers/layer-spec.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import { leadingTokens, meanOver, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import { resample } from '../../layers/resample.ts';
import { vitBlock } from '../../layers/vit-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size img_scale patch_size in_chans num_classes embed_dim depth num_heads mlp_ratio multi_conv crop_scale qkv_bias norm_layer global_pool';
const withoutEffect = 'drop_rate pos_drop_rate proj_drop_rate attn_drop_rate drop_path_rate';

/** A number for each of the two branches. */
type Pair = readonly [number, number];

function crossvitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const depth = (args.depth ?? [1, 2, 3].map(() => [1, 3, 1])) as readonly (readonly number[])[];
  if (!depth.every((row) => Array.isArray(row) && row.length === 3 && row.every(Number.isInteger))) {
    throw new UserError('depth must be a list of [blocks of branch 0, blocks of branch 1, fusions]');
  }
  if (depth.some(([first, second]) => first! < 1 || second! < 1)) {
    throw new UserError('depth needs a block at least in each branch');
  }
  const resolved = {
    img_size: read.pair('img_size', 224),
    img_scale: read.perStage('img_scale', [1, 1]) as unknown as Pair,
    patch_size: read.integers('patch_size', [8, 16]) as unknown as Pair,
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    embed_dim: read.integers('embed_dim', [192, 384]) as unknown as Pair,
    depth,
    num_heads: read.integers('num_heads', [6, 12]) as unknown as Pair,
    mlp_ratio: read.perStage('mlp_ratio', [2, 2, 4]),
    multi_conv: read.boolean('multi_conv', false),
    crop_scale: read.boolean('crop_scale', false),
    qkv_bias: read.boolean('qkv_bias', true),
    norm: normSpec('norm_layer', args.norm_layer),
    global_pool: read.oneOf('global_pool', ['token', 'avg'], 'token'),
  };
  const { img_scale, patch_size, embed_dim, num_heads } = resolved;
  checkStages({ 'a pair': [0, 1], img_scale, patch_size, embed_dim, num_heads });
  checkHeads(embed_dim, num_heads);
  if (resolved.multi_conv && !patch_size.every((size) => size === 12 || size === 16)) {
    throw new UserError(`multi_conv has convolutions for a patch_size of 12 or 16, not ${patch_size}`);
  }
  return resolved;
}
type CrossVitArgs = ReturnType<typeof crossvitArgs>;

const branches = [0, 1] as const;
const positionStart: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's CrossVit ("CrossViT: Cross-Attention Multi-Scale Vision Transformer", arXiv 2103.14899): two ViTs of small
 * and of large patches, whose class tokens attend to the other's. Output `logits` `[N, classes]`, the mean of both
 * heads', with `num_classes` 0 the features of both.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildCrossVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = crossvitArgs(modelArgs);
  const layers = new Layers('CrossVit', source);
  const images = layers.images(args.in_chans, args.img_size);
  let tokens = branches.map((i) => embed(layers, images, args, i)) as [Value, Value];
  args.depth.forEach((depth, k) => {
    tokens = layers.scope(`blocks.${k}`, () => multiScaleBlock(layers, tokens, args, depth));
  });
  const outputs = branches.map((i) => {
    const normed = layers.norm(`norm.${i}`, tokens[i], args.norm);
    const pooled =
      args.global_pool === 'avg'
        ? meanOver(layers, withoutPrefix(layers, normed, 1), [1])
        : tokenAt(layers, normed, 0);
    return args.num_classes > 0 ? layers.linear(`head.${i}`, pooled, args.num_classes) : pooled;
  }) as [Value, Value];
  if (args.num_classes > 0) return layers.finish(meanOfHeads(layers, outputs));
  return layers.finish(layers.builder.op('Concat', outputs, { axis: 1 }, 'features'));
}

function embed(layers: Layers, images: Value, args: CrossVitArgs, i: 0 | 1): Value {
  const [width, patch] = [args.embed_dim[i], args.patch_size[i]];
  const size = args.img_size.map((length) => Math.trunc(length * args.img_scale[i])) as unknown as Pair;
  if (size.some((length) => length % patch !== 0)) {
    throw new UserError(`image of branch ${i}, ${size}, is not divisible by its patch_size ${patch}`);
  }
  const image = layers.scope(`branch${i}`, () => scaled(layers, images, args, size));
  const patches = layers.scope(`patch_embed.${i}`, () =>
    imageToTokens(
      layers,
      args.multi_conv
        ? stem(layers, image, width, patch)
        : conv(layers, 'proj', image, width, { kernel: patch, stride: patch }),
    ),
  );
  const position = layers.parameter(`pos_embed_${i}`, [1, 1 + dimOf(patches, 1), width], positionStart);
  const token = layers.parameter(`cls_token_${i}`, [1, 1, width], positionStart);
  return embedTokens(layers, patches, [token], position);
}

/** The image in a branch's size: resampled, or its middle where that is enough and `crop_scale` asks for it. */
function scaled(layers: Layers, images: Value, args: CrossVitArgs, size: Pair): Value {
  const b = layers.builder;
  if (!args.crop_scale || size.some((length, axis) => length > args.img_size[axis]!)) {
    return resample(layers, images, size, 'bicubic');
  }
  const starts = size.map((length, axis) => halfToEven((args.img_size[axis]! - length) / 2));
  const ends = starts.map((start, axis) => start + size[axis]!);
  return b.op('Slice', [images, b.ints(starts), b.ints(ends), b.ints([2, 3])], {}, 'cropped');
}

/** Python's `round`. */
const halfToEven = (x: number) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** Three convolutions instead of one. */
function stem(layers: Layers, image: Value, width: number, patch: number): Value {
  const second: ConvOptions = patch === 12 ? { kernel: 3, stride: 3 } : { kernel: 3, stride: 2, padding: 1 };
  const steps: readonly ConvOptions[] = [
    { kernel: 7, stride: 4, padding: 3 },
    second,
    { kernel: 3, stride: patch === 12 ? 1 : 2, padding: 1 },
  ];
  return steps.reduce((x, step, k) => {
    const channels = Math.floor(width / 2 ** (2 - k));
    const convolved = conv(layers, `proj.${2 * k}`, x, channels, step);
    return k < 2 ? layers.scope(`proj.${2 * k + 1}`, () => layers.activation(convolved, 'relu')) : convolved;
  }, image);
}

function multiScaleBlock(
  layers: Layers,
  inputs: readonly [Value, Value],
  args: CrossVitArgs,
  depth: readonly number[],
): [Value, Value] {
  const { num_heads, norm, qkv_bias: qkvBias, embed_dim } = args;
  const encoded = branches.map((i) => {
    let x = inputs[i];
    for (let j = 0; j < depth[i]!; j++) {
      const options = { heads: num_heads[i], mlpRatio: args.mlp_ratio[i]!, norm, qkvBias };
      x = layers.scope(`blocks.${i}.${j}`, () => vitBlock(layers, x, options));
    }
    return x;
  });
  /** A token in the other branch's width: norm, GELU and a Linear. */
  const translated = (name: string, token: Value, width: number) =>
    layers.scope(name, () => {
      const normed = layers.norm('0', token, norm);
      return layers.linear(
        '2',
        layers.scope('1', () => layers.activation(normed, 'gelu')),
        width,
      );
    });
  const b = layers.builder;
  const tokens = branches.map((i) =>
    translated(`projs.${i}`, leadingTokens(layers, encoded[i]!, 1), embed_dim[1 - i]!),
  );
  return branches.map((i) => {
    const [other, own] = [withoutPrefix(layers, encoded[1 - i]!, 1), withoutPrefix(layers, encoded[i]!, 1)];
    let x = b.op('Concat', [tokens[i]!, other], { axis: 1 }, `with_other_${i}`);
    const names =
      depth[2] === 0
        ? [`fusion.${i}`]
        : Array.from({ length: bounded(depth[2]!) }, (_, j) => `fusion.${i}.${j}`);
    for (const name of names) {
      x = layers.scope(name, () => {
        const normed = layers.norm('norm1', x, norm);
        const attended = layers.scope('attn', () =>
          classAttention(layers, normed, { heads: num_heads[1 - i]!, qkvBias, names: ['wq', 'wk', 'wv'] }),
        );
        return b.op('Add', [leadingTokens(layers, x, 1), attended], {}, 'residual1');
      });
    }
    const back = translated(`revert_projs.${i}`, x, lastDim(own));
    return b.op('Concat', [back, own], { axis: 1 }, `fused_${i}`);
  }) as [Value, Value];
}
