import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { readArguments } from '../../arguments.ts';
import { attention } from '../../layers/attention.ts';
import { cosineScores } from '../../layers/cosine-attention.ts';
import { classifierHead } from '../../layers/head.ts';
import { Layers, lastDim, pytorchStart } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { imagePatches } from '../../layers/patch-embed.ts';
import { patchMerging } from '../../layers/patch-merging.ts';
import { relativePositionMlp, signedLog } from '../../layers/relative-position.ts';
import { inWindows, type WindowPlan } from '../../layers/shifted-windows.ts';
import { postNormBlock } from '../../layers/transformer-block.ts';
import { windowStages } from '../../layers/window-stages.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type SwinArgs, swinArgs, withoutEffect } from '../swin-transformer/arguments.ts';

const own = ['window_ratio', 'init_values', 'extra_norm_period', 'extra_norm_stage'];

const known = [
  'img_size patch_size in_chans num_classes global_pool embed_dim depths num_heads window_size always_partition',
  'mlp_ratio norm_layer',
]
  .join(' ')
  .split(' ')
  .concat(own);

interface SwinCrArgs extends SwinArgs {
  grid: readonly [number, number];
  init_values: number | undefined;
  extra_norm_period: number;
  extra_norm_stage: boolean;
}

function swinCrArgs(args: ModelArgs): SwinCrArgs {
  const read = readArguments(args, known, [...withoutEffect, 'sequential_attn']);
  const { sequential_attn: _, ...rest } = args;
  const img_size = read.pair('img_size', 224);
  const patch = read.integer('patch_size', 4, 1);
  const grid = img_size.map((size) => Math.floor(size / patch)) as [number, number];
  const ratio = read.integer('window_ratio', 8, 1);
  const window = args.window_size ?? grid.map((length) => Math.floor(length / ratio));
  if (Array.isArray(window) && window.includes(0)) {
    throw new UserError(`img_size ${img_size} has ${grid} patches, too few for a window_ratio of ${ratio}`);
  }
  return {
    ...swinArgs({ ...rest, window_size: window }, known),
    grid,
    /** An explicit null leaves the norms at 1. */
    init_values: args.init_values === null ? undefined : read.number('init_values', 0),
    extra_norm_period: read.integer('extra_norm_period', 0, 0),
    extra_norm_stage: read.boolean('extra_norm_stage', false),
  };
}

/**
 * timm's SwinTransformerV2Cr, an implementation of Swin Transformer V2 (arXiv 2111.09883) of its own.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildSwinTransformerV2Cr(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = swinCrArgs(modelArgs);
  const layers = new Layers('SwinTransformerV2Cr', source, pytorchStart);
  const { patch_size: patch, norm, depths } = args;
  const x = imagePatches(layers, 'patch_embed', layers.images(args.in_chans, args.img_size), {
    patchSize: [patch, patch],
    width: args.widths[0]!,
    norm,
  });
  const stages = windowStages(layers, x, {
    name: 'stages',
    depths,
    grid: args.grid,
    windowOf: (stage) => args.windows[stage]!,
    always: args.always_partition,
    merge: (image, stage) =>
      patchMerging(layers, 'downsample', image, { width: args.widths[stage]!, norm, normFirst: true }),
    block(image, stage, index, plan) {
      const y = block(layers, image, args, stage, plan);
      return hasExtraNorm(args, stage, index) ? layers.norm('norm3', y, norm) : y;
    },
  });
  return layers.finish(
    classifierHead(layers, 'head', stages, {
      classes: args.num_classes,
      pool: args.global_pool,
      axes: [1, 2],
    }),
  );
}

/** Every so many blocks of a stage, and at the end of each or of the last. */
function hasExtraNorm(
  { extra_norm_period, extra_norm_stage, depths }: SwinCrArgs,
  stage: number,
  index: number,
) {
  if (extra_norm_period > 0 && (index + 1) % extra_norm_period === 0) return true;
  return index === depths[stage]! - 1 && (extra_norm_stage || stage === depths.length - 1);
}

function block(layers: Layers, x: Value, args: SwinCrArgs, stage: number, plan: WindowPlan): Value {
  return postNormBlock(layers, x, {
    norm: args.norm,
    ...(args.init_values === undefined
      ? {}
      : { normInitializer: { kind: 'constant', value: args.init_values } as const }),
    attend: (image) =>
      layers.scope('attn', () =>
        inWindows(layers, image, plan, (windows, mask) =>
          windowAttention(layers, windows, args.num_heads[stage]!, plan.window, mask),
        ),
      ),
    feed: (image) =>
      mlp(
        layers,
        image,
        { kind: 'Mlp', activation: 'gelu', gateLast: true },
        { hidden: Math.trunc(lastDim(image) * args.mlp_ratio[stage]!), bias: true, norm: undefined },
      ),
  });
}

function windowAttention(
  layers: Layers,
  x: Value,
  heads: number,
  window: readonly [number, number],
  mask: ((scores: Value) => Value) | undefined,
): Value {
  const b = layers.builder;
  const scale = layers.parameter('logit_scale', [heads], { kind: 'constant', value: Math.log(10) });
  const bias = layers.scope('meta_mlp', () =>
    relativePositionMlp(layers, {
      window,
      heads,
      hidden: 384,
      coordinate: signedLog,
      names: ['fc1', 'fc2'],
      bias: true,
    }),
  );
  return attention(layers, x, {
    heads,
    qkvBias: true,
    projBias: true,
    qkNorm: undefined,
    scaleNorm: undefined,
    ...cosineScores(layers, b.op('Unsqueeze', [scale, b.ints([1, 2])], {}, 'logit_scale_by_head')),
    biases: [bias],
    ...(mask ? { onScores: mask } : {}),
  });
}
