import type { Graph, Value } from '../../../graph/graph.ts';
import { readArguments } from '../../arguments.ts';
import { attention, biasesApart } from '../../layers/attention.ts';
import { cosineScores } from '../../layers/cosine-attention.ts';
import { type ActivationName, activationName } from '../../layers/layer-spec.ts';
import { Layers, lastDim } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { boundedBias, relativePositionMlp, swinCoordinate } from '../../layers/relative-position.ts';
import { inWindows, type WindowPlan } from '../../layers/shifted-windows.ts';
import { postNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type SwinArgs, swinArgs, withoutEffect } from '../swin-transformer/arguments.ts';
import { swinStages } from '../swin-transformer/stages.ts';

const known = [
  'img_size patch_size in_chans num_classes global_pool embed_dim depths num_heads window_size always_partition',
  'mlp_ratio qkv_bias norm_layer act_layer pretrained_window_sizes',
]
  .join(' ')
  .split(' ');

interface SwinV2Args extends SwinArgs {
  activation: ActivationName;
  /** Windows that the biases were learned on, one a stage; 0: the model's own. */
  pretrained: readonly number[];
}

function swinV2Args(args: ModelArgs): SwinV2Args {
  return {
    ...swinArgs(args, known),
    activation: activationName('act_layer', args.act_layer),
    pretrained: readArguments(args, known, withoutEffect).perStage('pretrained_window_sizes', [0, 0, 0, 0]),
  };
}

/**
 * timm's SwinTransformerV2 ("Swin Transformer V2", arXiv 2111.09883): norms after the branches, cosines as scores, and
 * biases that a network makes.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildSwinTransformerV2(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = swinV2Args(modelArgs);
  const layers = new Layers('SwinTransformerV2', source);
  return swinStages(layers, args, {
    normFirst: false,
    block: (image, stage, plan) => block(layers, image, args, stage, plan),
  });
}

function block(layers: Layers, x: Value, args: SwinV2Args, stage: number, plan: WindowPlan): Value {
  return postNormBlock(layers, x, {
    norm: args.norm,
    normInitializer: { kind: 'constant', value: 0 },
    attend: (image) =>
      layers.scope('attn', () =>
        inWindows(layers, image, plan, (windows, mask) => {
          const heads = args.num_heads[stage]!;
          const start = { kind: 'constant', value: Math.log(10) } as const;
          return attention(layers, windows, {
            heads,
            qkvBias: args.qkv_bias,
            projBias: true,
            qkNorm: undefined,
            scaleNorm: undefined,
            project: biasesApart,
            ...cosineScores(layers, layers.parameter('logit_scale', [heads, 1, 1], start)),
            biases: [positionBias(layers, args, stage, plan.window)],
            ...(mask ? { onScores: mask } : {}),
          });
        }),
      ),
    feed: (image) =>
      mlp(
        layers,
        image,
        { kind: 'Mlp', activation: args.activation, gateLast: true },
        { hidden: Math.trunc(lastDim(image) * args.mlp_ratio[stage]!), bias: true, norm: undefined },
      ),
  });
}

function positionBias(
  layers: Layers,
  args: SwinV2Args,
  stage: number,
  window: readonly [number, number],
): Value {
  const pretrained = args.pretrained[stage]!;
  const made = layers.scope('cpb_mlp', () =>
    relativePositionMlp(layers, {
      window,
      heads: args.num_heads[stage]!,
      hidden: 512,
      coordinate: (offset, size) => swinCoordinate(offset, pretrained > 0 ? pretrained : size),
      names: ['0', '2'],
      bias: false,
    }),
  );
  return boundedBias(layers, made);
}
