import type { Graph, Value } from '../../../graph/graph.ts';
import { classifierHead } from '../../layers/head.ts';
import { imageNorm } from '../../layers/image-norm.ts';
import { Layers } from '../../layers/layers.ts';
import { channelsFirst, channelsLast } from '../../layers/layout.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type BlockType, type MaxxVitArgs, maxxVitArgs } from './arguments.ts';
import { convBlocks, stem } from './convolutions.ts';
import { linearStart } from './initializers.ts';
import { imageTransformer, windowsBesideGrids, windowsThenGrids } from './transformers.ts';

/**
 * timm's MaxxVit: CoAtNet (arXiv 2106.04803), MaxViT (arXiv 2204.01697), and both with ConvNeXt's blocks. Output
 * `logits` `[N, classes]`, the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildMaxxVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = maxxVitArgs(modelArgs);
  const layers = new Layers('MaxxVit', source, linearStart(args.scheme));
  let x = stem(layers, layers.images(args.in_chans, args.img_size), args);
  args.stages.forEach((types, stage) => {
    types.forEach((type, i) => {
      x = layers.scope(`stages.${stage}.blocks.${i}`, () =>
        blocks[type](layers, x, args, args.embed_dim[stage]!, i === 0 ? 2 : 1),
      );
    });
  });
  const { norm } = args.transformer;
  const { head_hidden_size: hidden, num_classes: classes, global_pool: pool } = args;
  const features = hidden ? x : imageNorm(layers, 'norm', x, norm);
  return layers.finish(
    classifierHead(layers, 'head', features, {
      classes,
      pool,
      axes: [2, 3],
      ...(hidden ? { norm, hidden } : {}),
    }),
  );
}

/** A block, `[N, C, H, W] -> [N, channels, H / stride, W / stride]`. */
type Block = (layers: Layers, x: Value, args: MaxxVitArgs, channels: number, stride: number) => Value;

const convolution =
  (name: string): Block =>
  (layers, x, { conv, scheme }, channels, stride) =>
    layers.scope(name, () => convBlocks[conv.kind](layers, x, conv, channels, stride, scheme));

const blocks: Record<BlockType, Block> = {
  /** timm's schemes leave a ConvNeXt block that stands by itself as PyTorch starts it. */
  C: (layers, x, { conv, scheme }, channels, stride) =>
    convBlocks[conv.kind](layers, x, conv, channels, stride, conv.kind === 'convnext' ? '' : scheme),
  T: (layers, x, { transformer, scheme }, channels, stride) =>
    imageTransformer(layers, x, transformer, channels, stride, scheme),
  M(layers, x, args, channels, stride) {
    const near = convolution('conv')(layers, x, args, channels, stride);
    return channelsFirst(layers, windowsThenGrids(layers, channelsLast(layers, near), args.transformer));
  },
  PM(layers, x, args, channels, stride) {
    const first = convolution('conv.0')(layers, x, args, channels, stride);
    const near = convolution('conv.1')(layers, first, args, channels, 1);
    return channelsFirst(layers, windowsBesideGrids(layers, channelsLast(layers, near), args.transformer));
  },
};
