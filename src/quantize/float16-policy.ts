import { type OpName, rowsFor } from '../graph/schema/signature.ts';

/**
 * Why an op stays in float32 in a float16 model: it adds up many terms, it exponentiates or divides by what
 * may be small, or an element type is part of what it says.
 */
export type WhyFloat32 = 'sums' | 'powers' | 'types';

/** The ops that stay in float32 in a float16 model, keyed by `Node.op`. */
export const keptInFloat32: { readonly [O in OpName]?: WhyFloat32 } = {
  ...rowsFor(
    'LayerNormalization RMSNormalization SimplifiedLayerNormalization com.microsoft.SkipLayerNormalization GroupNormalization InstanceNormalization BatchNormalization LpNormalization',
    'sums',
  ),
  ...rowsFor(
    'ReduceSum ReduceMean ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp ReduceProd CumSum GlobalAveragePool',
    'sums',
  ),
  ...rowsFor('Softmax LogSoftmax com.microsoft.BiasSoftmax com.microsoft.MultiHeadAttention', 'sums'),
  ...rowsFor('Exp Pow Reciprocal', 'powers'),
  ...rowsFor('Cast CastLike Constant ConstantOfShape Resize Upsample OneHot Celu', 'types'),
};
