import type { Graph, Value } from '../../../graph/graph.ts';
import { batchNorm, type ConvOptions, convNormAct, halfPadding } from '../../layers/convolution.ts';
import { meanOfHeads } from '../../layers/head.ts';
import { imageScale } from '../../layers/image-scale.ts';
import type { ActivationName } from '../../layers/layer-spec.ts';
import { dimOf, Layers } from '../../layers/layers.ts';
import { meanOver } from '../../layers/pool.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type EfficientFormerV2Args, efficientFormerV2Args } from './arguments.ts';
import { type ConvNorm, downsamplingAttention, talkingAttention } from './attention.ts';

/**
 * timm's EfficientFormerV2 ("Rethinking Vision Transformers for MobileNet Size and Speed", arXiv 2212.08059): blocks
 * of convolutions, and attention of images, at half size in the third stage, in the last `num_vit` of the last two
 * stages. Output `logits` `[N, classes]`, the mean of two heads with `distillation`; the pooled features with
 * `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildEfficientFormerV2(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = efficientFormerV2Args(modelArgs);
  const layers = new Layers('EfficientFormerV2', source);
  const convNorm = convNorms(layers, args);
  const strided = { kernel: 3, stride: 2, padding: 1 };
  let x = layers.images(args.in_chans, args.img_size);
  layers.scope('stem', () => {
    x = convNorm('conv1', x, Math.floor(args.embed_dims[0]! / 2), strided, args.activation);
    x = convNorm('conv2', x, args.embed_dims[0]!, strided, args.activation);
  });
  args.depths.forEach((depth, i) => {
    layers.scope(`stages.${i}`, () => {
      if (i > 0) x = layers.scope('downsample', () => downsample(layers, convNorm, x, args, i));
      for (let j = 0; j < depth; j++) {
        const attends = i >= 2 && j >= depth - args.num_vit;
        x = layers.scope(`blocks.${j}`, () => block(layers, convNorm, x, args, i, j, attends));
      }
    });
  });
  const normed = batchNorm(layers, 'norm', x, { epsilon: args.norm_eps });
  const pooled = meanOver(layers, normed, [2, 3]);
  if (args.num_classes === 0) return layers.finish(pooled);
  const names = args.distillation ? ['head', 'head_dist'] : ['head'];
  const outputs = names.map((name) => layers.linear(name, pooled, args.num_classes));
  return layers.finish(args.distillation ? meanOfHeads(layers, outputs as [Value, Value]) : outputs[0]!);
}

/** Convolutions of attentions, whose norms have PyTorch's epsilon whatever `norm_eps` says. */
const fixed = ['stride_conv', 'q', 'k', 'v', 'v_local', 'proj'];

/** Convolutions with a bias and a BatchNorm. Padding keeps the size at stride 1 where none is given. */
const convNorms =
  (layers: Layers, args: EfficientFormerV2Args): ConvNorm =>
  (name: string, x: Value, channels: number, options: ConvOptions, activation?: ActivationName) =>
    convNormAct(layers, name, x, channels, {
      bias: true,
      padding: halfPadding(options.kernel as number, options.stride as number | undefined),
      ...options,
      activation,
      norm: { epsilon: fixed.includes(name) ? 1e-5 : args.norm_eps },
    });

function downsample(
  layers: Layers,
  convNorm: ConvNorm,
  x: Value,
  args: EfficientFormerV2Args,
  i: number,
): Value {
  const width = args.embed_dims[i]!;
  const halved = convNorm('conv', x, width, { kernel: 3, stride: 2, padding: 1 });
  if (i < 3) return halved;
  const attended = layers.scope('attn', () =>
    downsamplingAttention(layers, convNorm, x, width, args.activation),
  );
  return layers.builder.op('Add', [attended, halved], {}, 'sum');
}

function block(
  layers: Layers,
  convNorm: ConvNorm,
  input: Value,
  args: EfficientFormerV2Args,
  i: number,
  j: number,
  attends: boolean,
): Value {
  const b = layers.builder;
  const { activation, layer_scale } = args;
  let x = input;
  if (attends) {
    const mixed = layers.scope('token_mixer', () =>
      talkingAttention(layers, convNorm, x, i === 2 ? 2 : 1, activation),
    );
    x = b.op('Add', [x, imageScale(layers, 'ls1', mixed, layer_scale)], {}, 'residual1');
  }
  const width = dimOf(x, 1);
  const hidden = Math.trunc(width * args.mlp_ratios[i]![j]!);
  const fed = layers.scope('mlp', () => {
    const wide = convNorm('fc1', x, hidden, { kernel: 1 }, activation);
    const local = convNorm('mid', wide, hidden, { kernel: 3, groups: hidden }, activation);
    return convNorm('fc2', local, width, { kernel: 1 });
  });
  return b.op('Add', [x, imageScale(layers, 'ls2', fed, layer_scale)], {}, 'residual2');
}
