import type { BlockShape } from './blocks-of.ts';
import type { ModelFacts } from './family.ts';
import { ratioFor } from './infer-transformer.ts';
import type { ModelArgs } from './model-args.ts';

/** Blocks of a network of stages, by stage: `layers.1.blocks.0` is of stage 1. */
export function blocksByStage(blocks: readonly BlockShape[]): BlockShape[][] {
  const stages: BlockShape[][] = [];
  for (const block of blocks) {
    const stage = Number(/\.(\d+)\.blocks\.\d+$/.exec(block.name)?.[1]);
    stages[stage] ??= [];
    stages[stage].push(block);
  }
  return stages;
}

/** The arguments of a network whose stages double their widths, as the first block of each says. */
export function inferStageArgs({ blocks }: ModelFacts, given: ModelArgs): ModelArgs | undefined {
  const stages = blocksByStage(blocks);
  const { embedDim, mlpHidden } = stages[0]?.[0] ?? {};
  const heads = stages.map((stage) => stage[0]?.numHeads);
  if (!embedDim || !mlpHidden || heads.some((count) => !count)) return undefined;
  return {
    ...given,
    embed_dim: embedDim,
    depths: stages.map((stage) => stage.length),
    num_heads: heads,
    mlp_ratio: ratioFor(embedDim, mlpHidden),
  };
}
