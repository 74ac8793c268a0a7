import { type BlockReading, firstLength, measuredBlocks, type ShapeInBlock } from '../../blocks-of.ts';
import type { Family, ModelFacts } from '../../family.ts';
import { attentionQueryRows, moduleRows, type RowRange } from '../../layers/query-rows.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { StateShapes } from '../../state.ts';
import { buildVisionTransformer, buildVisionTransformerDistilled } from './build.ts';
import { layouts } from './layouts.ts';

const reading: BlockReading = {
  block: /^(.*?\bblocks\.\d+)\./,
  embedDim: (shapeOf) => firstLength(shapeOf, ['norm1.weight', 'in_norm.weight', 'attns.0.norm.weight']),
  mlpHidden: hiddenUnits,
};

/** From a bias where there is one, float or quantized; else the axis of the first weight that is not the embedding. */
function hiddenUnits(shapeOf: ShapeInBlock, embedDim: number | undefined): number | undefined {
  const fromBias = firstLength(shapeOf, [
    'mlp.fc1.bias',
    'mlp.fc1_g.bias',
    'ffns.0.mlp.fc1.bias',
    'mlp_bias',
  ]);
  if (fromBias !== undefined) return fromBias;
  const first = shapeOf('mlp.fc1.weight') ?? shapeOf('mlp.fc1_g.weight') ?? shapeOf('ffns.0.mlp.fc1.weight');
  const [rows, columns] = first ?? shapeOf('mlp_out_proj.weight') ?? [];
  if (rows === undefined || columns === undefined) {
    const joined = shapeOf('out_proj.weight');
    return joined && embedDim !== undefined ? Math.max(...joined) - embedDim : undefined;
  }
  return rows === embedDim ? columns : rows;
}

function inferArgs({ blocks }: ModelFacts, given: ModelArgs): ModelArgs | undefined {
  const { embedDim, numHeads, mlpHidden } = blocks[0] ?? {};
  if (!embedDim || !numHeads || !mlpHidden || embedDim % numHeads !== 0) return undefined;
  return {
    ...given,
    embed_dim: embedDim,
    depth: blocks.length,
    num_heads: numHeads,
    mlp_ratio: ratioFor(embedDim, mlpHidden),
  };
}

/** A ratio for which timm's `int(width * ratio)` is `hidden`: the quotient, or the middle of what rounds to it. */
function ratioFor(width: number, hidden: number): number {
  const exact = hidden / width;
  return Math.trunc(width * exact) === hidden ? exact : (hidden + 0.5) / width;
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
  inferArgs,
  queryRows,
  layouts,
};
