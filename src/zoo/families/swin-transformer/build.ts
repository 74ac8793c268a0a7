import type { Graph, Value } from '../../../graph/graph.ts';
import { attention } from '../../layers/attention.ts';
import { classifierHead } from '../../layers/head.ts';
import { Layers, lastDim } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { imagePatches } from '../../layers/patch-embed.ts';
import { patchMerging } from '../../layers/patch-merging.ts';
import { relativePositionBias } from '../../layers/relative-position.ts';
import { inWindows, type WindowPlan } from '../../layers/shifted-windows.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import { windowStages } from '../../layers/window-stages.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type SwinArgs, swinArgs } from './arguments.ts';

/**
 * timm's SwinTransformer ("Swin Transformer", arXiv 2103.14030).
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildSwinTransformer(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = swinArgs(modelArgs);
  const layers = new Layers('SwinTransformer', source);
  const { patch_size: patch, norm } = args;
  const x = imagePatches(layers, 'patch_embed', layers.images(args.in_chans, args.img_size), {
    patchSize: [patch, patch],
    width: args.widths[0]!,
    norm,
  });
  const stages = windowStages(layers, x, {
    name: 'layers',
    depths: args.depths,
    grid: [Math.floor(args.img_size[0] / patch), Math.floor(args.img_size[1] / patch)],
    windowOf: (stage) => args.windows[stage]!,
    always: args.always_partition,
    merge: (image, stage) =>
      patchMerging(layers, 'downsample', image, { width: args.widths[stage]!, norm, normFirst: true }),
    block: (image, stage, _index, plan) => block(layers, image, args, stage, plan),
  });
  const normed = layers.norm('norm', stages, norm);
  return layers.finish(
    classifierHead(layers, 'head', normed, {
      classes: args.num_classes,
      pool: args.global_pool,
      axes: [1, 2],
    }),
  );
}

function block(layers: Layers, x: Value, args: SwinArgs, stage: number, plan: WindowPlan): Value {
  const { head_dim, norm } = args;
  const heads = args.num_heads[stage]!;
  return preNormBlock(layers, x, {
    norm,
    attend: (image) =>
      layers.scope('attn', () =>
        inWindows(layers, image, plan, (windows, mask) =>
          attention(layers, windows, {
            heads,
            qkvBias: args.qkv_bias,
            projBias: true,
            qkNorm: undefined,
            scaleNorm: undefined,
            biases: [relativePositionBias(layers, { window: plan.window, heads })],
            ...(head_dim ? { headDim: head_dim[stage]! } : {}),
            ...(mask ? { onScores: mask } : {}),
          }),
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
