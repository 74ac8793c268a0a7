import type { Graph, Value } from '../../../graph/graph.ts';
import { plainAttentionOf } from '../../layers/attention.ts';
import { batchNorm, conv } from '../../layers/convolution.ts';
import { classifierHead } from '../../layers/head.ts';
import { dimOf, Layers } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type FastVitArgs, fastVitArgs } from './arguments.ts';
import { convMlp, largeKernel, mobileOne, scaled } from './layers.ts';

/**
 * timm's FastVit in its form with parallel branches ("FastViT: A Fast Hybrid Vision Transformer using Structural
 * Reparameterization", arXiv 2303.14189), MobileCLIP's image towers among them: depthwise convolutions mix tokens,
 * attention in the last stages. Output `logits` `[N, classes]`, the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildFastVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = fastVitArgs(modelArgs);
  const layers = new Layers('FastVit', source);
  const { activation, embed_dims, stem_use_scale_branch: scaleBranch, num_classes: classes } = args;
  const images = layers.images(args.in_chans, args.img_size);
  const strided = { kernel: 3, stride: 2, scaleBranch, activation };
  let x = mobileOne(layers, 'stem.0', images, embed_dims[0]!, strided);
  x = mobileOne(layers, 'stem.1', x, embed_dims[0]!, { ...strided, depthwise: true });
  x = mobileOne(layers, 'stem.2', x, embed_dims[0]!, { kernel: 1, scaleBranch, activation });
  args.layers.forEach((_, i) => {
    x = layers.scope(`stages.${i}`, () => stage(layers, x, args, i));
  });
  const features = Math.trunc(dimOf(x, 1) * args.cls_ratio);
  x = mobileOne(layers, 'final_conv', x, features, { kernel: 3, depthwise: true, excite: true, activation });
  return layers.finish(classifierHead(layers, 'head', x, { classes, pool: args.global_pool, axes: [2, 3] }));
}

function stage(layers: Layers, image: Value, args: FastVitArgs, i: number): Value {
  const { activation, embed_dims } = args;
  const width = embed_dims[i]!;
  let x = image;
  if (args.downsamples[i] || dimOf(x, 1) !== width) {
    x = largeKernel(layers, 'downsample.proj.0', x, width, {
      kernel: args.down_patch_size,
      stride: args.down_stride,
      excite: args.se_downsamples[i]!,
      activation: args.lkc_use_act ? activation : undefined,
    });
    x = mobileOne(layers, 'downsample.proj.1', x, width, { kernel: 1, activation });
  }
  const kernel = args.pos_kernels[i];
  if (kernel) {
    const padding = Math.floor(kernel[0] / 2);
    const position = conv(layers, 'pos_emb.pos_enc', x, width, { kernel, padding, groups: width });
    x = layers.builder.op('Add', [position, x], {}, 'positioned');
  }
  const block = args.token_mixers[i] === 'attention' ? attentionBlock : mixerBlock;
  for (let j = 0; j < args.layers[i]!; j++) {
    x = layers.scope(`blocks.${j}`, () => block(layers, x, args, i));
  }
  return x;
}

type Block = (layers: Layers, x: Value, args: FastVitArgs, i: number) => Value;

const hiddenUnits = (x: Value, args: FastVitArgs, i: number) => Math.trunc(dimOf(x, 1) * args.mlp_ratios[i]!);

/** Tokens mixed by convolutions, of which a BatchNorm of the image is taken away, then the MLP. */
const mixerBlock: Block = (layers, x, args, i) => {
  const b = layers.builder;
  const width = dimOf(x, 1);
  const { repmixer_kernel_size: kernel, layer_scale } = args;
  const mixed = layers.scope('token_mixer', () => {
    const normed = mobileOne(layers, 'norm', x, width, {
      kernel,
      depthwise: true,
      scaleBranch: false,
      convolution: false,
    });
    const mixer = mobileOne(layers, 'mixer', x, width, { kernel, depthwise: true });
    const difference = b.op('Sub', [mixer, normed], {}, 'difference');
    return b.op('Add', [x, scaled(layers, 'layer_scale', difference, layer_scale)], {}, 'residual');
  });
  const fed = convMlp(layers, mixed, hiddenUnits(x, args, i), args.activation);
  return b.op('Add', [mixed, scaled(layers, 'layer_scale', fed, layer_scale)], {}, 'residual2');
};

const attentionBlock: Block = (layers, x, args, i) => {
  const b = layers.builder;
  const normed = args.layer_norm
    ? layers.channelNorm('norm', x, { kind: 'layer', epsilon: 1e-5 })
    : batchNorm(layers, 'norm', x);
  const heads = dimOf(x, 1) / 32;
  const attended = tokensToImage(
    layers,
    layers.scope('token_mixer', () => plainAttentionOf(layers, imageToTokens(layers, normed), heads, false)),
    [dimOf(x, 2), dimOf(x, 3)],
  );
  const middle = b.op(
    'Add',
    [x, scaled(layers, 'layer_scale_1', attended, args.layer_scale)],
    {},
    'residual1',
  );
  const fed = convMlp(layers, middle, hiddenUnits(x, args, i), args.activation);
  return b.op('Add', [middle, scaled(layers, 'layer_scale_2', fed, args.layer_scale)], {}, 'residual2');
};
