import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { conv } from '../../layers/convolution.ts';
import { classifierHead } from '../../layers/head.ts';
import {
  dimOf,
  Layers,
  type LinearStart,
  pytorchStart,
  timmStart,
  xavierStart,
} from '../../layers/layers.ts';
import { channelsFirst, channelsLast } from '../../layers/layout.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type GcvitArgs, gcvitArgs } from './arguments.ts';
import { block } from './block.ts';
import { halved, summary } from './convolutions.ts';

const starts: Record<GcvitArgs['weight_init'], LinearStart> = {
  '': pytorchStart,
  vit: xavierStart,
  normal: timmStart,
};

/**
 * timm's GlobalContextVit ("Global Context Vision Transformers", arXiv 2206.09959): attention in windows by turns with
 * attention of windows to a summary of the whole image, which has the queries of all windows. Output `logits`
 * `[N, classes]`, the pooled features with `num_classes` 0, the last image with `global_pool` '' too.
 *
 * timm gives the windows of an image the summaries of all images of its batch in turn; here, as in the paper, each
 * image has its own. For one image the two are the same.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildGcvit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = gcvitArgs(modelArgs);
  const layers = new Layers('GlobalContextVit', source, starts[args.weight_init]);
  let x = layers.scope('stem', () => {
    const image = layers.images(args.in_chans, args.img_size);
    const first = conv(layers, 'conv1', image, args.widths[0]!, { kernel: 3, stride: 2, padding: 1 });
    return layers.scope('down', () =>
      halved(layers, first, args.widths[0]!, { norm: args.imageNorm, activation: args.activation }),
    );
  });
  args.depths.forEach((_, i) => {
    x = layers.scope(`stages.${i}`, () => stage(layers, x, args, i));
  });
  return layers.finish(
    classifierHead(layers, 'head', x, { classes: args.num_classes, pool: args.global_pool, axes: [2, 3] }),
  );
}

/** timm's `GlobalContextVitStage`: `[N, C, H, W]`, half the size and twice the channels but for the first. */
function stage(layers: Layers, x: Value, args: GcvitArgs, i: number): Value {
  const window = args.windows[i]!;
  const image =
    i === 0
      ? x
      : layers.scope('downsample', () =>
          halved(layers, x, args.widths[i]!, { norm: args.imageNorm, activation: 'gelu' }),
        );
  const size = [dimOf(image, 2), dimOf(image, 3)] as const;
  if (size.some((length, axis) => length % window[axis]! !== 0)) {
    throw new UserError(`the image of stage ${i} is ${size}, which windows of ${window} do not divide`);
  }
  // The sizes timm counts with, which are those of the images where all strides divide them.
  const counted = args.img_size.map((length) => Math.floor(Math.floor(length / 4) / 2 ** i));
  const halvings = Math.trunc(Math.log2(Math.min(...counted) / Math.min(...window)));
  const context = layers.scope('global_block.blocks', () => summary(layers, image, halvings));
  if (dimOf(context, 2) !== window[0] || dimOf(context, 3) !== window[1]) {
    throw new UserError(
      `the image of stage ${i} is ${size}, whose halves do not become a window of ${window}`,
    );
  }
  const queries = channelsLast(layers, context);
  let tokens = channelsLast(layers, image);
  for (let j = 0; j < args.depths[i]!; j++) {
    tokens = layers.scope(`blocks.${j}`, () =>
      block(layers, tokens, args, {
        window,
        heads: args.num_heads[i]!,
        queries: j % 2 ? queries : undefined,
      }),
    );
  }
  const last = i === args.depths.length - 1;
  return channelsFirst(layers, last ? layers.norm('norm', tokens, args.tokenNorm) : tokens);
}
