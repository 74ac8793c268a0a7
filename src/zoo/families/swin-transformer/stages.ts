import type { Graph, Value } from '../../../graph/graph.ts';
import { classifierHead } from '../../layers/head.ts';
import type { Layers } from '../../layers/layers.ts';
import { imagePatches } from '../../layers/patch-embed.ts';
import { patchMerging } from '../../layers/patch-merging.ts';
import type { WindowPlan } from '../../layers/shifted-windows.ts';
import { windowStages } from '../../layers/window-stages.ts';
import type { SwinArgs } from './arguments.ts';

/** What the versions of Swin differ in. */
export interface SwinParts {
  /** Whether patches are normed before they are merged, or after. */
  readonly normFirst: boolean;
  block(image: Value, stage: number, plan: WindowPlan): Value;
}

/** Patches, stages of windowed blocks with merging between them, and a head: what all versions of Swin have. */
export function swinStages(layers: Layers, args: SwinArgs, { normFirst, block }: SwinParts): Graph {
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
      patchMerging(layers, 'downsample', image, { width: args.widths[stage]!, norm, normFirst }),
    block: (image, stage, _index, plan) => block(image, stage, plan),
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
