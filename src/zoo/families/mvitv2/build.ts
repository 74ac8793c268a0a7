import type { Graph } from '../../../graph/graph.ts';
import { conv } from '../../layers/convolution.ts';
import { dimOf, Layers, type LinearStart } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import { meanOver, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';
import { mvitv2Args } from './arguments.ts';
import { block } from './block.ts';
import type { BlockPlan, TokenImage } from './plan.ts';
import { strided } from './pooling.ts';

const start: Initializer = { kind: 'truncatedNormal', std: 0.02 };
const linearStart: LinearStart = () => ({ weight: start, bias: { kind: 'constant', value: 0 } });

/**
 * timm's MultiScaleVit ("MViTv2: Improved Multiscale Vision Transformers", arXiv 2112.01526): queries, keys and
 * values are pooled, which makes the image smaller from stage to stage. Output `logits` `[N, classes]`, the pooled
 * features with `num_classes` 0, all tokens with `global_pool` ''.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildMvitv2(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const { cfg, ...args } = mvitv2Args(modelArgs);
  const layers = new Layers('MultiScaleVit', source, linearStart);
  const width = cfg.embed_dim[0]!;
  const image = layers.scope('patch_embed', () =>
    conv(layers, 'proj', layers.images(args.in_chans, args.img_size), width, {
      kernel: cfg.patch_kernel,
      stride: cfg.patch_stride,
      padding: cfg.patch_padding,
    }),
  );
  const patches = imageToTokens(layers, image, 'patches');
  const prefix = cfg.use_cls_token ? [layers.parameter('cls_token', [1, 1, width], start)] : [];
  const count = dimOf(patches, 1) + prefix.length;
  const position = cfg.use_abs_pos ? layers.parameter('pos_embed', [1, count, width], start) : undefined;
  let x: TokenImage = {
    tokens: embedTokens(layers, patches, prefix, position),
    size: [dimOf(image, 2), dimOf(image, 3)],
    prefix: prefix.length,
  };
  cfg.depths.forEach((depth, stage) => {
    for (let i = 0; i < depth; i++) {
      const strideQ = i === 0 ? cfg.stride_q[stage]! : ([1, 1] as const);
      const own = cfg.embed_dim[stage]!;
      const last = i === depth - 1;
      const next = last ? (cfg.embed_dim[stage + 1] ?? own) : own;
      const plan: BlockPlan = {
        width: cfg.expand_attn ? own : next,
        heads: cfg.num_heads[stage]!,
        q: strided(cfg.kernel_qkv, strideQ),
        kv: strided(cfg.kernel_qkv, cfg.stride_kv[stage]!),
      };
      x = layers.scope(`stages.${stage}.blocks.${i}`, () => block(layers, x, cfg, plan));
    }
  });
  const normed = layers.norm('norm', x.tokens, cfg.norm);
  const pooled = {
    '': () => normed,
    token: () => tokenAt(layers, normed, 0),
    avg: () => meanOver(layers, withoutPrefix(layers, normed, x.prefix), [1]),
  }[args.global_pool]();
  return layers.finish(args.num_classes > 0 ? layers.linear('head.fc', pooled, args.num_classes) : pooled);
}
