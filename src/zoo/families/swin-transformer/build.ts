import type { Graph, Value } from '../../../graph/graph.ts';
import { attention } from '../../layers/attention.ts';
import { Layers, lastDim } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { relativePositionBias } from '../../layers/relative-position.ts';
import { inWindows, type WindowPlan } from '../../layers/shifted-windows.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type SwinArgs, swinArgs } from './arguments.ts';
import { swinStages } from './stages.ts';

/**
 * timm's SwinTransformer ("Swin Transformer", arXiv 2103.14030).
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildSwinTransformer(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = swinArgs(modelArgs);
  const layers = new Layers('SwinTransformer', source);
  return swinStages(layers, args, {
    normFirst: true,
    block: (image, stage, plan) => block(layers, image, args, stage, plan),
  });
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
