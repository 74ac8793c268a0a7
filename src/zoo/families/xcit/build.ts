import type { Graph, Value } from '../../../graph/graph.ts';
import { batchNorm, conv } from '../../layers/convolution.ts';
import { fourierPositions } from '../../layers/fourier-positions.ts';
import { dimOf, Layers } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import { tokenPools } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type XcitArgs, xcitArgs } from './arguments.ts';
import { classAttentionBlock, xcaBlock } from './blocks.ts';

/**
 * timm's Xcit ("XCiT: Cross-Covariance Image Transformers", arXiv 2106.09681): attention between channels instead of
 * tokens, convolutions between neighbouring patches, and a class token that joins for the last blocks. Output
 * `logits` `[N, classes]`, the pooled features with `num_classes` 0, all tokens with `global_pool` ''.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildXcit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = xcitArgs(modelArgs);
  const layers = new Layers('Xcit', source);
  const image = layers.scope('patch_embed', () =>
    stem(layers, layers.images(args.in_chans, args.img_size), args),
  );
  const size = [dimOf(image, 2), dimOf(image, 3)] as const;
  let x = imageToTokens(layers, image);
  if (args.use_pos_embed) {
    const position = layers.scope('pos_embed', () => fourierPositions(layers, size, args.embed_dim));
    x = layers.builder.op('Add', [x, position], {}, 'positioned');
  }
  for (let i = 0; i < args.depth; i++) {
    x = layers.scope(`blocks.${i}`, () => xcaBlock(layers, x, args, size));
  }
  const token = layers.parameter('cls_token', [1, 1, args.embed_dim], { kind: 'normal', std: 0.02 });
  x = embedTokens(layers, x, [token], undefined);
  for (let i = 0; i < args.cls_attn_layers; i++) {
    x = layers.scope(`cls_attn_blocks.${i}`, () => classAttentionBlock(layers, x, args));
  }
  x = layers.norm('norm', x, args.norm);
  x = tokenPools[args.global_pool](layers, x);
  return layers.finish(args.num_classes > 0 ? layers.linear('head', x, args.num_classes) : x);
}

/** Convolutions that halve the image until a pixel is a patch, and double the channels. */
function stem(layers: Layers, image: Value, { patch_size, embed_dim, activation }: XcitArgs): Value {
  const steps = Math.log2(patch_size);
  let x = image;
  for (let step = 0; step < steps; step++) {
    const channels = Math.floor(embed_dim / 2 ** (steps - 1 - step));
    const place = `proj.${2 * step}`;
    const convolved = conv(layers, `${place}.0`, x, channels, {
      kernel: 3,
      stride: 2,
      padding: 1,
      bias: false,
    });
    x = batchNorm(layers, `${place}.1`, convolved);
    if (step < steps - 1) x = layers.scope(`proj.${2 * step + 1}`, () => layers.activation(x, activation));
  }
  return x;
}
