import type { Graph, Value } from '../../../graph/graph.ts';
import { channelAttention } from '../../layers/channel-attention.ts';
import { type ConvOptions, conv, halfPadding } from '../../layers/convolution.ts';
import { fourierPositions } from '../../layers/fourier-positions.ts';
import { classifierHead } from '../../layers/head.ts';
import type { NormSpec } from '../../layers/layer-spec.ts';
import { dimOf, Layers, type LinearStart, lastDim } from '../../layers/layers.ts';
import { channelsFirst, channelsLast, imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type EdgeNextArgs, edgeNextArgs, partsOf } from './arguments.ts';

const norm: NormSpec = { kind: 'layer', epsilon: 1e-6 };

/** The head may start smaller than the rest. */
const linearStart =
  (headScale: number): LinearStart =>
  (name) => ({
    weight: { kind: 'truncatedNormal', std: 0.02 * (name.startsWith('head.') ? headScale : 1) },
    bias: { kind: 'constant', value: 0 },
  });

const convStart = {
  weightInitializer: { kind: 'truncatedNormal', std: 0.02 },
  biasInitializer: { kind: 'constant', value: 0 },
} as const satisfies Partial<ConvOptions>;

/**
 * timm's EdgeNeXt ("EdgeNeXt: Efficiently Amalgamated CNN-Transformer Architecture for Mobile Vision Applications",
 * arXiv 2206.10589): depthwise convolutions of growing size, and blocks in which parts of the channels see further
 * and further and then attend to each other. Output `logits` `[N, classes]`, the pooled features with
 * `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildEdgeNext(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = edgeNextArgs(modelArgs);
  const layers = new Layers('EdgeNeXt', source, linearStart(args.head_init_scale));
  const { dims, conv_bias: bias, num_classes: classes, global_pool: pool } = args;
  const images = layers.images(args.in_chans, args.img_size);
  const window = args.stem_type === 'patch' ? { kernel: 4 } : { kernel: 9, padding: 4 };
  const patches = conv(layers, 'stem.0', images, dims[0]!, { ...window, stride: 4, bias, ...convStart });
  let x = layers.channelNorm('stem.1', patches, norm);
  dims.forEach((_, i) => {
    x = layers.scope(`stages.${i}`, () => stage(layers, x, args, i));
  });
  if (args.head_norm_first) x = layers.channelNorm('norm_pre', x, norm);
  const normed = args.head_norm_first ? {} : { norm };
  return layers.finish(classifierHead(layers, 'head', x, { classes, pool, axes: [2, 3], ...normed }));
}

function stage(layers: Layers, image: Value, args: EdgeNextArgs, i: number): Value {
  const halves = i > 0;
  let x = image;
  if (halves && !args.downsample_block) {
    const normed = layers.channelNorm('downsample.0', x, norm);
    const options = { kernel: 2, stride: 2, bias: args.conv_bias, ...convStart };
    x = conv(layers, 'downsample.1', normed, args.dims[i]!, options);
  }
  const [depth, attending] = [args.depths[i]!, args.global_block_counts[i]!];
  for (let j = 0; j < depth; j++) {
    const stride = halves && args.downsample_block && j === 0 ? 2 : 1;
    x = layers.scope(`blocks.${j}`, () =>
      j < depth - attending ? convBlock(layers, x, args, i, stride) : attentionBlock(layers, x, args, i),
    );
  }
  return x;
}

/** `[N, H, W, C]` through the MLP and the layer scale. */
function feed(layers: Layers, x: Value, args: EdgeNextArgs): Value {
  const hidden = Math.trunc(lastDim(x) * args.expand_ratio);
  const fed = plainMlp(layers, layers.norm('norm', x, norm), hidden);
  return args.layer_scale > 0 ? layers.channelScale('gamma', fed, args.layer_scale) : fed;
}

/** A depthwise convolution and an MLP. Where the shape changes, the residual is what comes out of the convolution. */
function convBlock(layers: Layers, x: Value, args: EdgeNextArgs, i: number, stride: number): Value {
  const [inputs, width, kernel] = [dimOf(x, 1), args.dims[i]!, args.kernel_sizes[i]!];
  const near = conv(layers, 'conv_dw', x, width, {
    kernel,
    stride,
    padding: halfPadding(kernel, stride),
    groups: inputs,
    bias: args.conv_bias,
    ...convStart,
  });
  const fed = channelsFirst(layers, feed(layers, channelsLast(layers, near), args));
  const kept = stride > 1 || inputs !== width ? near : x;
  return layers.builder.op('Add', [kept, fed], {}, 'residual');
}

/** Parts of the channels convolved one after the other, each with what the one before it saw; the last stays. */
function cascade(layers: Layers, x: Value, args: EdgeNextArgs, i: number): Value {
  const b = layers.builder;
  const parts = partsOf(dimOf(x, 1), args.d2_scales[i]!);
  const cut = b.node('Split', [x, b.ints(parts)], { axis: 1 }, parts.length, 'scale_input');
  const outputs: Value[] = [];
  parts.slice(0, -1).forEach((groups, part) => {
    const before = outputs.at(-1);
    const own = cut.output(part);
    const input = before ? b.op('Add', [before, own], {}, 'cascaded') : own;
    const options = { kernel: 3, padding: 1, groups, bias: args.conv_bias, ...convStart };
    outputs.push(conv(layers, `convs.${part}`, input, groups, options));
  });
  return b.op('Concat', [...outputs, cut.output(parts.length - 1)], { axis: 1 }, 'scales');
}

function attentionBlock(layers: Layers, image: Value, args: EdgeNextArgs, i: number): Value {
  const b = layers.builder;
  const size = [dimOf(image, 2), dimOf(image, 3)] as const;
  const scales = cascade(layers, image, args, i);
  let tokens = imageToTokens(layers, scales);
  if (args.use_pos_emb[i]) {
    const position = layers.scope('pos_embd', () => fourierPositions(layers, size, dimOf(image, 1)));
    tokens = b.op('Add', [tokens, position], {}, 'positioned');
  }
  const normed = layers.norm('norm_xca', tokens, norm);
  const attended = layers.scope('xca', () => channelAttention(layers, normed, args.heads[i]!, true));
  const scaled = layers.channelScale('gamma_xca', attended, args.layer_scale);
  const middle = b.op('Add', [tokens, scaled], {}, 'residual1');
  const fed = tokensToImage(layers, feed(layers, middle, args), size);
  return b.op('Add', [image, fed], {}, 'residual2');
}
