import { firstLength, measuredBlocks, mlpUnits } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import type { ModelArgs } from '../../model-args.ts';
import { visionTransformer } from '../vision-transformer/family.ts';
import { hybridBuilder } from '../vision-transformer-hybrid/build.ts';
import { type ConvStages, convStages } from './backbone.ts';

/** The convolutions of a size, by what a name says of it. */
const sizes: readonly [RegExp, Pick<ConvStages, 'stem' | 'widths'>][] = [
  [/_small_/, { stem: 64, widths: [64, 128, 384] }],
  [/_base_/, { stem: 128, widths: [128, 256, 768] }],
  [/_large2?_/, { stem: 160, widths: [160, 320, 1024] }],
  [/_xlarge_/, { stem: 192, widths: [192, 384, 1152] }],
];

/** timm's entry points make the convolutions as an object: what it was made of is put in its place. */
function namedArgs(name: string, args: ModelArgs): ModelArgs {
  const embed = args.embed_layer as { kwargs: { backbone: object } };
  const size = sizes.find(([pattern]) => pattern.test(name))?.[1];
  const backbone = { ...embed.kwargs.backbone, ...size, depths: [2, 4] };
  return { ...args, embed_layer: { ...embed, kwargs: { ...embed.kwargs, backbone } } };
}

/** timm's ViTamin ("Designing Scalable Vision Models in the Vision-Language Era", arXiv 2404.02132). */
export const vitamin: Family = {
  ...visionTransformer,
  name: 'vitamin',
  classes: {
    'vitamin.VisionTransformer': hybridBuilder((layers, image, backbone) =>
      convStages(layers, image, backbone as ConvStages),
    ),
  },
  namedArgs,
  blocks: (graph) =>
    measuredBlocks(graph, {
      block: /^(blocks\.\d+)\./,
      embedDim: (shapeOf) => firstLength(shapeOf, ['norm1.weight']),
      mlpHidden: (shapeOf, embedDim) => mlpUnits(shapeOf, embedDim, ['mlp.w0']),
    }),
  layouts: [],
};
