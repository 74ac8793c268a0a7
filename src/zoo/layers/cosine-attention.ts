import type { Value } from '../../graph/graph.ts';
import type { AttentionOptions } from './attention.ts';
import type { Layers } from './layers.ts';
import { unitLength } from './normalize.ts';

/**
 * Scores are cosines times a learned factor of each head ("Swin Transformer V2", arXiv 2111.09883).
 * @param logitScale logarithms of the factors, `[heads, 1, 1]`; a factor is at most 100
 */
export function cosineScores(
  layers: Layers,
  logitScale: Value,
): Required<Pick<AttentionOptions, 'scale' | 'prepare'>> {
  const b = layers.builder;
  const bounded = b.op('Min', [logitScale, b.scalar(Math.log(100))], {}, 'logit_scale_bounded');
  return {
    scale: b.op('Exp', [bounded], {}, 'factor'),
    prepare: (x) => unitLength(layers, x),
  };
}
