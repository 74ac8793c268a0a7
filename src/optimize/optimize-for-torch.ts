import { eliminateIdentities } from '../graph/eliminate-identities.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { deduplicate } from './deduplicate.ts';
import { foldBatchNorm } from './fold-batch-norm.ts';
import { foldConstants } from './fold-constants.ts';
import { foldScales } from './fold-scales.ts';
import { layOutRows } from './lay-out-rows.ts';
import { mergeConvolutions } from './merge-convolutions.ts';
import { packHeads } from './pack-heads.ts';

/** Engines round to 8 bits each in their own way: a constant that goes through this is left to PyTorch. */
const rounding = new Set(['com.microsoft.DynamicQuantizeMatMul', 'QuantizeLinear']);

/**
 * A copy of the graph laid out for PyTorch's interpreters on phones; it computes the same. What is made
 * of constants alone is computed, factors behind linear layers and norms by running statistics are taken into
 * the weights, parallel convolutions become one, queries,
 * keys and values are cut where no number has to move twice, and what is there twice is kept once.
 *
 * Parameters end up as other tensors than the model was trained with, so this is for files that are
 * only run (`.ptl`), not for those that are trained on (`.pt`).
 */
export async function optimizeForTorch(engine: Engine, source: Graph): Promise<Graph> {
  const { graph } = source.clone();
  graph.removeDead();
  eliminateIdentities(graph);
  packHeads(graph);
  foldScales(graph);
  await foldConstants(engine, graph, rounding);
  await mergeConvolutions(engine, graph);
  await foldBatchNorm(engine, graph);
  await layOutRows(engine, graph);
  eliminateIdentities(graph);
  deduplicate(graph);
  graph.removeDead();
  return graph;
}
