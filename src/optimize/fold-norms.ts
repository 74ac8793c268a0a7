import { eliminateIdentities } from '../graph/eliminate-identities.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { foldBatchNorm } from './fold-batch-norm.ts';
import { mergeConvolutions } from './merge-convolutions.ts';

/**
 * A copy of a float32 graph that computes the same, with norms by running statistics in the layers beside them and parallel
 * convolutions one: what int8 numbers are to be made for, since integers take no factor. The graph itself where there
 * is nothing of the kind.
 */
export async function foldNorms(engine: Engine, source: Graph): Promise<Graph> {
  if (!source.nodes.some(({ op }) => op === 'Conv' || op === 'BatchNormalization')) return source;
  const { graph } = source.clone();
  eliminateIdentities(graph);
  const merged = await mergeConvolutions(engine, graph);
  const folded = await foldBatchNorm(engine, graph);
  if (merged + folded === 0) return source;
  graph.removeDead();
  return graph;
}
