import { eliminateIdentities } from '../graph/eliminate-identities.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { deduplicate } from './deduplicate.ts';
import { foldBatchNorm } from './fold-batch-norm.ts';
import { foldConstants } from './fold-constants.ts';
import { foldScales } from './fold-scales.ts';
import { fuseMatMul } from './fuse-matmul.ts';
import { mergeConvolutions } from './merge-convolutions.ts';
import { packHeads } from './pack-heads.ts';

/**
 * A copy of the graph laid out for ONNX Runtime's CPU engine; it computes the same. Weights of linear
 * layers lie as `[in, out]` afterwards, under their parameters' names; norms by running statistics are in
 * the layers beside them, parallel convolutions one.
 *
 * What is not here was measured and did not win: `MultiHeadAttention`, `QAttention`,
 * `SkipLayerNormalization`, `BiasGelu`, `MatMulNBits` on 8 bits.
 */
export async function optimizeForOrt(engine: Engine, source: Graph): Promise<Graph> {
  const { graph } = source.clone();
  graph.removeDead();
  eliminateIdentities(graph);
  packHeads(graph);
  fuseMatMul(graph);
  foldScales(graph);
  await foldConstants(engine, graph);
  await mergeConvolutions(engine, graph);
  await foldBatchNorm(engine, graph);
  eliminateIdentities(graph);
  deduplicate(graph);
  graph.removeDead();
  return graph;
}
