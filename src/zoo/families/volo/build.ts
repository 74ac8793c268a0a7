import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { plainAttention } from '../../layers/attention.ts';
import { classAttention } from '../../layers/class-attention.ts';
import { batchNorm, conv } from '../../layers/convolution.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { channelsFirst, channelsLast } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { leadingTokens, maxOver, meanOver, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';
import { type VoloArgs, voloArgs } from './arguments.ts';
import { outlookAttention } from './outlook-attention.ts';

const tokenStart: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's VOLO ("VOLO: Vision Outlooker for Visual Recognition", arXiv 2106.13112): outlook attention on a fine image,
 * then attention on one of half the size, then a class token that listens. What a second head says of the patches
 * is pooled and added to the logits. Output `logits` `[N, classes]`, of features instead with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildVolo(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = voloArgs(modelArgs);
  const layers = new Layers('VOLO', source);
  const b = layers.builder;
  const image = network(layers, patches(layers, layers.images(args.in_chans, args.img_size), args), args);
  const tokens = b.op('Reshape', [image, b.ints([0, dimOf(image, 1) * dimOf(image, 2), -1])], {}, 'tokens');
  let x = embedTokens(
    layers,
    tokens,
    [layers.parameter('cls_token', [1, 1, lastDim(tokens)], tokenStart)],
    undefined,
  );
  for (let i = 0; i < args.post_layers; i++) {
    x = layers.scope(`post_network.${i}`, () => classBlock(layers, x, args));
  }
  const normed = layers.norm('norm', x, args.norm);
  return layers.finish(heads(layers, normed, args));
}

function patches(layers: Layers, image: Value, args: VoloArgs): Value {
  const { stem_hidden_dim: channels, patch_size } = args;
  return layers.scope('patch_embed', () => {
    let x = image;
    for (const [i, kernel] of [7, 3, 3].entries()) {
      const stride = i === 0 ? 2 : 1;
      const padding = (kernel - 1) / 2;
      x = conv(layers, `conv.${3 * i}`, x, channels, { kernel, stride, padding, bias: false });
      x = batchNorm(layers, `conv.${3 * i + 1}`, x);
      x = layers.scope(`conv.${3 * i + 2}`, () => layers.activation(x, 'relu'));
    }
    const kernel = patch_size / 2;
    return channelsLast(layers, conv(layers, 'proj', x, args.embed_dims[0]!, { kernel, stride: kernel }));
  });
}

/** The stages, and between them convolutions that halve the image; all are entries of one list. */
function network(layers: Layers, image: Value, args: VoloArgs): Value {
  const { img_size, patch_size, pooling_scale, embed_dims } = args;
  const grid = img_size.map((size) => Math.floor(Math.floor(size / patch_size) / pooling_scale));
  const position = layers.parameter('pos_embed', [1, ...grid, embed_dims.at(-1)!], tokenStart);
  let x = image;
  let entry = 0;
  const next = (body: () => Value) => {
    if (entry === 2) x = positioned(layers, x, position);
    x = layers.scope(`network.${entry}`, body);
    entry += 1;
  };
  args.depths.forEach((_, i) => {
    next(() => stage(layers, x, args, i));
    if (args.downsamples[i]) next(() => halved(layers, x, embed_dims[i + 1]));
  });
  if (entry < 3)
    throw new UserError('VOLO adds its positions at the third of stages and downsamples: there are fewer');
  return x;
}

function positioned(layers: Layers, x: Value, position: Value): Value {
  const [own, given] = [x, position].map((value) => value.shape!.slice(1));
  if (String(own) !== String(given)) {
    throw new UserError(
      `positions [${given}] do not fit the image [${own}]: see pooling_scale and downsamples`,
    );
  }
  return layers.builder.op('Add', [x, position], {}, 'positioned');
}

function halved(layers: Layers, x: Value, width: number | undefined): Value {
  if (width === undefined) throw new UserError('downsamples has no stage after the last one');
  return channelsLast(
    layers,
    conv(layers, 'proj', channelsFirst(layers, x), width, { kernel: 2, stride: 2 }),
  );
}

function stage(layers: Layers, image: Value, args: VoloArgs, i: number): Value {
  const heads = args.num_heads[i]!;
  const hidden = Math.trunc(args.embed_dims[i]! * args.mlp_ratio[i]!);
  if (lastDim(image) !== args.embed_dims[i]) {
    throw new UserError(`stage ${i} has ${args.embed_dims[i]} channels and gets ${lastDim(image)}`);
  }
  let x = image;
  for (let j = 0; j < args.depths[i]!; j++) {
    x = layers.scope(`${j}`, () =>
      preNormBlock(layers, x, {
        norm: args.norm,
        attend: (normed) =>
          args.outlook_attention[i]
            ? layers.scope('attn', () => outlookAttention(layers, normed, { heads, qkvBias: args.qkv_bias }))
            : selfAttention(layers, normed, heads, args.qkv_bias),
        feed: (normed) => plainMlp(layers, normed, hidden),
      }),
    );
  }
  return x;
}

function selfAttention(layers: Layers, image: Value, heads: number, qkvBias: boolean): Value {
  const b = layers.builder;
  const size = [dimOf(image, 1), dimOf(image, 2)] as const;
  const tokens = b.op('Reshape', [image, b.ints([0, size[0] * size[1], -1])], {}, 'tokens');
  const attended = plainAttention(layers, tokens, heads, qkvBias);
  return b.op('Reshape', [attended, b.ints([0, ...size, -1])], {}, 'image');
}

/** The class token after attention to all and an MLP; the others stay. */
function classBlock(layers: Layers, x: Value, args: VoloArgs): Value {
  const b = layers.builder;
  const normed = layers.norm('norm1', x, args.norm);
  const attended = layers.scope('attn', () =>
    classAttention(layers, normed, {
      heads: args.num_heads.at(-1)!,
      qkvBias: args.qkv_bias,
      packed: true,
    }),
  );
  const middle = b.op('Add', [leadingTokens(layers, x, 1), attended], {}, 'residual1');
  const hidden = Math.trunc(lastDim(x) * args.mlp_ratio.at(-1)!);
  const fed = plainMlp(layers, layers.norm('norm2', middle, args.norm), hidden);
  const token = b.op('Add', [middle, fed], {}, 'residual2');
  return b.op('Concat', [token, withoutPrefix(layers, x, 1)], { axis: 1 }, 'all_tokens');
}

function heads(layers: Layers, x: Value, { global_pool, num_classes, use_aux_head }: VoloArgs): Value {
  const b = layers.builder;
  const head = (name: string, value: Value) =>
    num_classes > 0 ? layers.linear(name, value, num_classes) : value;
  const aux = use_aux_head ? head('aux_head', withoutPrefix(layers, x, 1)) : undefined;
  const pooled =
    global_pool === 'token' ? tokenAt(layers, x, 0) : global_pool === 'avg' ? meanOver(layers, x, [1]) : x;
  const out = head('head', pooled);
  if (!aux) return out;
  const half = b.op('Mul', [maxOver(layers, aux, [1]), b.scalar(0.5)], {}, 'aux');
  return b.op('Add', [out, half], {}, 'sum_of_heads');
}
