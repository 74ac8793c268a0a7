import type { Graph, Value } from '../../../graph/graph.ts';
import { scaledDotProduct } from '../../layers/attention.ts';
import { convNormAct } from '../../layers/convolution.ts';
import { distanceBias } from '../../layers/distance-bias.ts';
import { batchNormHead, meanOfHeads } from '../../layers/head.ts';
import { dimOf, Layers, pytorchStart } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import { meanOver } from '../../layers/pool.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type LevitArgs, levitArgs } from './arguments.ts';
import { type Form, imageForm, tokenForm } from './layers.ts';

type Size = readonly [height: number, width: number];

/**
 * timm's Levit ("LeViT: a Vision Transformer in ConvNet's Clothing", arXiv 2104.01136): BatchNorms beside every
 * projection, a bias by distance on the scores, attentions that halve the image between stages. Output `logits`
 * `[N, classes]`, the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildLevit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const { layers, features, classes } = encode(levitArgs(modelArgs), source);
  return layers.finish(batchNormHead(layers, 'head', features, classes));
}

/** The same with a second head, that of a distillation token's place; the logits are the mean of both. */
export function buildLevitDistilled(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const { layers, features, classes } = encode(levitArgs(modelArgs), source);
  const heads = ['head', 'head_dist'].map((name) => batchNormHead(layers, name, features, classes));
  return layers.finish(meanOfHeads(layers, heads as [Value, Value]));
}

function encode(args: LevitArgs, source: ParameterSource) {
  const layers = new Layers('Levit', source, pytorchStart);
  const form = args.use_conv ? imageForm : tokenForm;
  const image = stem(layers, layers.images(args.in_chans, args.img_size), args);
  let size: Size = [dimOf(image, 2), dimOf(image, 3)];
  let x = args.use_conv ? image : imageToTokens(layers, image);
  args.embed_dim.forEach((_, i) => {
    layers.scope(`stages.${i}`, () => {
      if (i > 0) {
        x = layers.scope('downsample', () => downsample(layers, x, args, form, i, size));
        size = size.map((length) => Math.ceil(length / 2)) as unknown as Size;
      }
      for (let j = 0; j < args.depth[i]!; j++) {
        x = layers.scope(`blocks.${j}`, () => block(layers, x, args, form, i, size));
      }
    });
  });
  return { layers, features: meanOver(layers, x, form.positions), classes: args.num_classes };
}

/** Convolutions that halve the image and double the channels, up to the first stage's. */
function stem(layers: Layers, images: Value, { stem_steps: steps, embed_dim, activation }: LevitArgs): Value {
  let x = images;
  for (let step = 1; step <= steps; step++) {
    const channels = Math.floor(embed_dim[0]! / 2 ** (steps - step));
    x = convNormAct(layers, `stem.conv${step}`, x, channels, {
      kernel: 3,
      stride: 2,
      padding: 1,
      names: ['linear', 'bn'],
      activation: step < steps ? activation : undefined,
    });
  }
  return x;
}

function block(layers: Layers, x: Value, args: LevitArgs, form: Form, i: number, size: Size): Value {
  const b = layers.builder;
  const heads = args.num_heads[i]!;
  const values = Math.trunc(args.attn_ratio[i]! * args.key_dim);
  const attended = layers.scope('attn', () => {
    const biases = [distanceBias(layers, heads, size)];
    const packed = form.project(layers, 'qkv', x, heads * (2 * args.key_dim + values));
    const [q, k, v] = parts(layers, form.splitHeads(layers, packed, heads), [
      args.key_dim,
      args.key_dim,
      values,
    ]);
    const context = scaledDotProduct(layers, q!, k!, v!, { scale: args.key_dim ** -0.5, biases });
    return projected(layers, form.joinHeads(layers, context, size), args, form, args.embed_dim[i]!, 0);
  });
  const middle = b.op('Add', [x, attended], {}, 'residual1');
  return feedForward(layers, middle, args, form, args.embed_dim[i]!, args.mlp_ratio[i]!);
}

/** An attention of every other row and column to all, which makes the next stage's width, and an MLP. */
function downsample(layers: Layers, x: Value, args: LevitArgs, form: Form, i: number, size: Size): Value {
  const [inputs, width] = [args.embed_dim[i - 1]!, args.embed_dim[i]!];
  const heads = Math.floor(inputs / args.key_dim);
  const values = 4 * args.key_dim;
  const smaller = size.map((length) => Math.ceil(length / 2)) as unknown as Size;
  const attended = layers.scope('attn_downsample', () => {
    const biases = [distanceBias(layers, heads, size, 2)];
    const packed = form.project(layers, 'kv', x, heads * (args.key_dim + values));
    const [k, v] = parts(layers, form.splitHeads(layers, packed, heads), [args.key_dim, values]);
    const fewer = form.subsample(layers, x, size);
    const q = form.splitHeads(layers, form.project(layers, 'q.ln', fewer, heads * args.key_dim), heads);
    const context = scaledDotProduct(layers, q, k!, v!, { scale: args.key_dim ** -0.5, biases });
    return projected(layers, form.joinHeads(layers, context, smaller), args, form, width, 1);
  });
  return feedForward(layers, attended, args, form, width, 2);
}

function parts(layers: Layers, x: Value, widths: readonly number[]): Value[] {
  const b = layers.builder;
  const cut = b.node('Split', [x, b.ints(widths)], { axis: -1 }, widths.length, 'part');
  return widths.map((_, i) => cut.output(i));
}

function projected(
  layers: Layers,
  x: Value,
  args: LevitArgs,
  form: Form,
  width: number,
  weight: number,
): Value {
  const active = layers.scope('proj', () => layers.activation(x, args.attn_activation));
  return form.project(layers, 'proj.ln', active, width, weight);
}

function feedForward(
  layers: Layers,
  x: Value,
  args: LevitArgs,
  form: Form,
  width: number,
  ratio: number,
): Value {
  const fed = layers.scope('mlp', () => {
    const hidden = form.project(layers, 'ln1', x, Math.trunc(width * ratio));
    return form.project(layers, 'ln2', layers.activation(hidden, args.activation), width, 0);
  });
  return layers.builder.op('Add', [x, fed], {}, 'residual2');
}
