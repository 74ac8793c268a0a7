import type { ModelFacts } from './family.ts';
import type { ModelArgs } from './model-args.ts';

/**
 * The arguments of a transformer of like blocks, as its first block says: embed_dim, depth, num_heads and
 * mlp_ratio; undefined where a block is not what these can make.
 */
export function inferTransformerArgs({ blocks }: ModelFacts, given: ModelArgs): ModelArgs | undefined {
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
export function ratioFor(width: number, hidden: number): number {
  const exact = hidden / width;
  return Math.trunc(width * exact) === hidden ? exact : (hidden + 0.5) / width;
}
