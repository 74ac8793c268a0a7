import { type BlockReading, firstLength, measuredBlocks } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildTnt } from './build.ts';

/** A block of patches and the one of pixels in it are two. */
const reading: BlockReading = {
  block: /^(blocks\.\d+)\.(?:norm_out|attn_out|norm_mlp|mlp)\./,
  embedDim: (shapeOf) => firstLength(shapeOf, ['norm_out.weight']),
  mlpHidden: (shapeOf) => firstLength(shapeOf, ['mlp.fc1.bias']),
};

/** timm's TNT. */
export const tnt: Family = {
  name: 'tnt',
  classes: { 'tnt.TNT': buildTnt },
  takesImageSize: true,
  noWeightDecay: ['patch_pos', 'pixel_pos', 'cls_token'],
  blocks: (graph) => measuredBlocks(graph, reading),
};
