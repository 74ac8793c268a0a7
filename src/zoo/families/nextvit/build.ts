import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { bounded } from '../../bounded.ts';
import { joinHeads, scaledDotProduct, splitHeads } from '../../layers/attention.ts';
import { batchNorm, type ConvOptions, conv, convNormAct } from '../../layers/convolution.ts';
import { classifierHead } from '../../layers/head.ts';
import { activationName } from '../../layers/layer-spec.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { averagePool } from '../../layers/pool.ts';
import { makeDivisible } from '../../layers/widths.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size in_chans num_classes global_pool stem_chs depths strides sr_ratios head_dim mix_block_ratio norm_layer act_layer';
const withoutEffect = 'drop_path_rate attn_drop_rate drop_rate';

function nextVitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  read.layer('norm_layer', ['batchnorm2d', 'BatchNorm2d'], 'batchnorm2d');
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    stem_chs: read.integers('stem_chs', [64, 32, 64]),
    depths: read.integers('depths', [3, 4, 10, 3]),
    strides: read.integers('strides', [1, 2, 2, 2]),
    sr_ratios: read.integers('sr_ratios', [8, 4, 2, 1]),
    head_dim: read.integer('head_dim', 32, 1),
    mix_block_ratio: read.number('mix_block_ratio', 0.75),
    activation: activationName('act_layer', args.act_layer, 'relu'),
  };
  const { depths, strides, sr_ratios, stem_chs, head_dim, mix_block_ratio } = resolved;
  checkStages({ depths, strides, sr_ratios });
  if (depths.length !== 4 || depths[2]! < 5) {
    throw new UserError(`depths is ${depths}; it must be of 4 stages, the third of at least 5 blocks`);
  }
  if (stem_chs.length !== 3) throw new UserError(`stem_chs is ${stem_chs}; it must be three numbers`);
  for (const { width, attends } of stageBlocks(depths).flat()) {
    const parts = attends ? mixedWidths(width, mix_block_ratio) : [width];
    const part = parts.find((channels) => channels < head_dim || channels % head_dim !== 0);
    if (part !== undefined) throw new UserError(`${part} of ${width} channels make no heads of ${head_dim}`);
  }
  return resolved;
}
type NextVitArgs = ReturnType<typeof nextVitArgs>;

interface BlockOptions {
  width: number;
  attends: boolean;
}

const repeated = (count: number, block: BlockOptions) => Array.from({ length: bounded(count) }, () => block);
const convolving = (width: number, count: number) => repeated(count, { width, attends: false });
const attending = (width: number) => repeated(1, { width, attends: true });

/** The blocks of each stage. timm has the widths in its code; the third stage is of groups of five. */
function stageBlocks([first, second, third, last]: readonly number[]): readonly (readonly BlockOptions[])[] {
  return [
    convolving(96, first!),
    [...convolving(192, second! - 1), ...attending(256)],
    repeated(Math.floor(third! / 5), { width: 0, attends: false }).flatMap(() => [
      ...convolving(384, 4),
      ...attending(512),
    ]),
    [...convolving(768, last! - 1), ...attending(1024)],
  ];
}

/** Channels that attend, and those that are convolved. */
function mixedWidths(width: number, ratio: number): readonly [attended: number, convolved: number] {
  const attended = makeDivisible(Math.trunc(width * ratio), 32);
  return [attended, width - attended];
}

/** How Linears and convolutions start. */
const start = {
  weightInitializer: { kind: 'normal', std: 0.02 },
  biasInitializer: { kind: 'constant', value: 0 },
} as const satisfies Partial<ConvOptions>;

/**
 * timm's NextViT ("Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial
 * Scenarios", arXiv 2207.05501): blocks of grouped convolutions, and at the end of their groups one that attends in
 * most of its channels and convolves the others. Output `logits` `[N, classes]`, the pooled features with
 * `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildNextVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = nextVitArgs(modelArgs);
  const layers = new Layers('NextViT', source);
  const { activation, stem_chs, num_classes: classes, global_pool: pool } = args;
  let x: Value = layers.images(args.in_chans, args.img_size);
  [...stem_chs, stem_chs[2]!].forEach((width, i) => {
    const options = { kernel: 3, stride: i % 3 === 0 ? 2 : 1, padding: 1, names: ['conv', 'norm'] } as const;
    x = convNormAct(layers, `stem.${i}`, x, width, { ...options, activation, ...start });
  });
  stageBlocks(args.depths).forEach((blocks, i) => {
    blocks.forEach(({ width, attends }, j) => {
      const stride = j === 0 ? args.strides[i]! : 1;
      const block = attends ? transformerBlock : convBlock;
      x = layers.scope(`stages.${i}.blocks.${j}`, () => block(layers, x, args, width, stride, i));
    });
  });
  const normed = batchNorm(layers, 'norm', x);
  return layers.finish(classifierHead(layers, 'head', normed, { classes, pool, axes: [2, 3] }));
}

type Block = (
  layers: Layers,
  x: Value,
  args: NextVitArgs,
  width: number,
  stride: number,
  stage: number,
) => Value;

/** Pixels in another width, with a stride of 2 means of four. */
function embed(layers: Layers, name: string, x: Value, width: number, stride: number): Value {
  if (stride !== 2 && dimOf(x, 1) === width) return x;
  return layers.scope(name, () => {
    const pooled =
      stride === 2 ? averagePool(layers, x, { kernel: 2, stride: 2, countPadding: false, ceil: true }) : x;
    return batchNorm(
      layers,
      'norm',
      conv(layers, 'conv', pooled, width, { kernel: 1, bias: false, ...start }),
    );
  });
}

/** x + what convolutions over heads of channels see: `[N, C, H, W] -> [N, C, H, W]`. */
function convolveHeads(layers: Layers, x: Value, { head_dim, activation }: NextVitArgs): Value {
  const width = dimOf(x, 1);
  const mixed = layers.scope('mhca', () => {
    const grouped = { kernel: 3, padding: 1, groups: width / head_dim, bias: false, ...start };
    const near = batchNorm(layers, 'norm', conv(layers, 'group_conv3x3', x, width, grouped));
    const active = layers.activation(near, activation);
    return conv(layers, 'projection', active, width, { kernel: 1, bias: false, ...start });
  });
  return layers.builder.op('Add', [x, mixed], {}, 'mhca_residual');
}

/** x + MLP(norm(x)), in 1x1 convolutions. */
function feed(layers: Layers, x: Value, norm: string, ratio: number, { activation }: NextVitArgs): Value {
  const width = dimOf(x, 1);
  const normed = batchNorm(layers, norm, x);
  const fed = layers.scope('mlp', () => {
    const hidden = conv(layers, 'fc1', normed, Math.trunc(width * ratio), { kernel: 1, ...start });
    return conv(layers, 'fc2', layers.activation(hidden, activation), width, { kernel: 1, ...start });
  });
  return layers.builder.op('Add', [x, fed], {}, 'mlp_residual');
}

const convBlock: Block = (layers, image, args, width, stride) => {
  const x = embed(layers, 'patch_embed', image, width, stride);
  return feed(layers, convolveHeads(layers, x, args), 'norm', 3, args);
};

const transformerBlock: Block = (layers, image, args, width, stride, stage) => {
  const b = layers.builder;
  const [attended, convolved] = mixedWidths(width, args.mix_block_ratio);
  const x = embed(layers, 'patch_embed', image, attended, stride);
  const normed = batchNorm(layers, 'norm1', x);
  const context = layers.scope('e_mhsa', () =>
    attention(layers, normed, args.head_dim, args.sr_ratios[stage]!),
  );
  const far = b.op('Add', [x, context], {}, 'mhsa_residual');
  const near = convolveHeads(layers, embed(layers, 'projection', far, convolved, 1), args);
  return feed(layers, b.op('Concat', [far, near], { axis: 1 }, 'far_and_near'), 'norm2', 2, args);
};

/**
 * Attention of pixels to means of `ratio`^2 pixels that follow one another, row after row:
 * `[N, C, H, W] -> [N, C, H, W]`.
 */
function attention(layers: Layers, image: Value, headDim: number, ratio: number): Value {
  const b = layers.builder;
  const tokens = imageToTokens(layers, image);
  const width = lastDim(tokens);
  const heads = width / headDim;
  const project = (name: string, x: Value) => splitHeads(layers, layers.linear(name, x, width), heads);
  let reduced = tokens;
  if (ratio > 1) {
    const row = b.op('Reshape', [image, b.ints([0, 0, 1, -1])], {}, 'one_row');
    const run = [1, ratio * ratio] as const;
    const means = averagePool(layers, row, { kernel: run, stride: run });
    reduced = imageToTokens(layers, batchNorm(layers, 'norm', means), 'reduced');
  }
  const context = scaledDotProduct(
    layers,
    project('q', tokens),
    project('k', reduced),
    project('v', reduced),
  );
  const projected = layers.linear('proj', joinHeads(layers, context), width);
  return tokensToImage(layers, projected, [dimOf(image, 2), dimOf(image, 3)]);
}
