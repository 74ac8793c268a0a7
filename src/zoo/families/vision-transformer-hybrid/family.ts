import { measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import type { ModelArgs } from '../../model-args.ts';
import { reading, visionTransformer } from '../vision-transformer/family.ts';
import { buildVisionTransformerHybrid } from './build.ts';

/** Blocks in the stages of a backbone, by what a name says of it. */
const depths: readonly [RegExp, readonly number[]][] = [
  [/_r26_s32_|_resnet26d_/, [2, 2, 2, 2]],
  [/_r50_s16_/, [3, 4, 9]],
  [/_r50_s32_|_resnet50d_224/, [3, 4, 6, 3]],
  [/_resnet50d_s16_/, [3, 4, 6]],
];

/** timm's entry points make the backbone as an object: its depths are put where the table names its class. */
function namedArgs(name: string, args: ModelArgs): ModelArgs {
  const embed = args.embed_layer as { kwargs: { backbone: object } };
  const layers = depths.find(([pattern]) => pattern.test(name))?.[1] ?? [];
  const backbone = { ...embed.kwargs.backbone, layers };
  return { ...args, embed_layer: { ...embed, kwargs: { ...embed.kwargs, backbone } } };
}

/** timm's hybrids: VisionTransformers behind a ResNet or another convolutional stem. */
export const visionTransformerHybrid: Family = {
  ...visionTransformer,
  name: 'vision_transformer_hybrid',
  classes: { 'vision_transformer_hybrid.VisionTransformer': buildVisionTransformerHybrid },
  namedArgs,
  blocks: (graph) => measuredBlocks(graph, { ...reading, block: /^(blocks\.\d+)\./ }),
  layouts: [],
};
