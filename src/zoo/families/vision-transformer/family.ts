import {
  type BlockReading,
  firstLength,
  measuredBlocks,
  mlpUnits,
  type ShapeInBlock,
} from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { inferTransformerArgs } from '../../infer-transformer.ts';
import { attentionQueryRows, moduleRows, type RowRange } from '../../layers/query-rows.ts';
import { transformerReading } from '../../layers/transformer-reading.ts';
import type { StateShapes } from '../../state.ts';
import { buildVisionTransformer, buildVisionTransformerDistilled } from './build.ts';
import { layouts } from './layouts.ts';

/** Where the sizes of its blocks are seen. */
export const reading: BlockReading = {
  ...transformerReading,
  embedDim: (shapeOf) => firstLength(shapeOf, ['norm1.weight', 'in_norm.weight', 'attns.0.norm.weight']),
  mlpHidden: hiddenUnits,
};

function hiddenUnits(shapeOf: ShapeInBlock, embedDim: number | undefined): number | undefined {
  const own = mlpUnits(shapeOf, embedDim, ['mlp.fc1', 'mlp.fc1_g', 'ffns.0.mlp.fc1']);
  if (own !== undefined) return own;
  const units = firstLength(shapeOf, ['mlp_bias']) ?? mlpUnits(shapeOf, embedDim, ['mlp_out_proj']);
  if (units !== undefined) return units;
  const joined = shapeOf('out_proj.weight');
  return joined && embedDim !== undefined ? Math.max(...joined) - embedDim : undefined;
}

/** The parallel blocks' projection has the queries after the MLP's hidden units, before keys and values. */
function queryRows(state: StateShapes, attention: string): RowRange[] {
  const rows = attentionQueryRows(state, attention);
  const joint = `${attention}.in_proj`;
  const width = state.get(`${joint}.weight`)?.[1];
  if (width === undefined || rows.some(([name]) => name.includes('q_norm'))) return rows;
  return [...rows, ...moduleRows(state, joint, (count) => [count - 3 * width, count - 2 * width])];
}

/** timm's VisionTransformer: ViT, DeiT, DeiT III, CLIP, SigLIP, DINOv2, AIMv2, FlexiViT and more. */
export const visionTransformer: Family = {
  name: 'vision_transformer',
  classes: {
    'vision_transformer.VisionTransformer': buildVisionTransformer,
    'deit.VisionTransformer': buildVisionTransformer,
    'deit.VisionTransformerDistilled': buildVisionTransformerDistilled,
  },
  takesImageSize: true,
  noWeightDecay: ['pos_embed', 'cls_token', 'dist_token', 'reg_token'],
  blocks: (graph) => measuredBlocks(graph, reading),
  inferArgs: inferTransformerArgs,
  queryRows,
  layouts,
};
