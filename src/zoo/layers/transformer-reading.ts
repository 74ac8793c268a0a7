import { type BlockReading, firstLength, mlpUnits } from '../blocks-of.ts';

/** Blocks named as timm's transformers mostly name them: `blocks.0`, with `norm1` and `mlp.fc1` or a gated `mlp.fc1_g`. */
export const transformerReading: BlockReading = {
  block: /^(.*?\bblocks\.\d+)\./,
  embedDim: (shapeOf) => firstLength(shapeOf, ['norm1.weight']),
  mlpHidden: (shapeOf, embedDim) => mlpUnits(shapeOf, embedDim, ['mlp.fc1', 'mlp.fc1_g']),
};

/** The same where blocks may widen: they are as wide as the norm of their MLP. */
export const wideningReading: BlockReading = {
  ...transformerReading,
  embedDim: (shapeOf) => firstLength(shapeOf, ['norm2.weight']),
};
