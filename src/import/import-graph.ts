import { eliminateIdentities, movementIdentities } from '../graph/eliminate-identities.ts';
import type { Graph } from '../graph/graph.ts';
import { nameBatch } from './batch.ts';
import { batchExpansion } from './batch-expansion.ts';
import { constantNodes } from './constant-nodes.ts';
import { foldShapes } from './fold-shapes.ts';
import { operatorSet } from './operator-set.ts';
import type { ImportContext, ImportOptions, ImportPass } from './pass.ts';
import { trainingLeftovers } from './training-leftovers.ts';

/** In the order in which they run. */
const passes: readonly ImportPass[] = [
  constantNodes,
  trainingLeftovers,
  nameBatch,
  foldShapes,
  operatorSet,
  foldShapes,
  batchExpansion,
  (graph) => {
    eliminateIdentities(graph, movementIdentities);
  },
];

/** Whether a graph comes from elsewhere: ours say what they are. */
export const isForeign = (graph: Graph): boolean =>
  ![...graph.metadata.keys()].some((key) => key.startsWith('pqv.'));

/**
 * Writes a graph from elsewhere as our own builders would have written it, in place. It computes the same, but
 * for what its notes say.
 * @returns notes for the user, a line each
 */
export function importGraph(graph: Graph, options: ImportOptions = {}): string[] {
  const context: ImportContext = { options, notes: [] };
  for (const pass of passes) pass(graph, context);
  return context.notes;
}
