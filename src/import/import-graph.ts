import { eliminateIdentities, movementIdentities } from '../graph/eliminate-identities.ts';
import type { Graph } from '../graph/graph.ts';
import { inferGraph } from '../graph/infer.ts';
import { nameBatch } from './batch.ts';
import { batchExpansion } from './batch-expansion.ts';
import { blockedChannels } from './blocked-channels.ts';
import { computedInFloat32 } from './computed-in-float32.ts';
import { constantNodes } from './constant-nodes.ts';
import { expandFused } from './expand/expand-fused.ts';
import { foldShapes } from './fold-shapes.ts';
import { freeBatch } from './free-batch.ts';
import { operatorSet } from './operator-set.ts';
import { ownFills } from './own-fills.ts';
import { parameterNames } from './parameter-names.ts';
import type { ImportContext, ImportOptions, ImportPass } from './pass.ts';
import { foreignQuantization } from './quantized/note.ts';
import { quantized } from './quantized/quantized.ts';
import { storedLinears } from './quantized/stored-linear.ts';
import { activation } from './recognize/activation.ts';
import { flatGathers } from './recognize/flat-gather.ts';
import { layerNorm } from './recognize/layer-norm.ts';
import { linear } from './recognize/linear.ts';
import { masks } from './recognize/masks.ts';
import { partsToSplit } from './recognize/parts.ts';
import { fixedSums } from './recognize/position.ts';
import { rmsNorm } from './recognize/rms-norm.ts';
import { scores } from './recognize/scores.ts';
import { trainingLeftovers } from './training-leftovers.ts';
import { valueNames } from './value-names.ts';

const identities: ImportPass = (graph) => {
  eliminateIdentities(graph, movementIdentities);
};

/** In the order in which they run. */
const passes: readonly ImportPass[] = [
  // What the file says becomes what it means.
  constantNodes,
  valueNames,
  trainingLeftovers,
  computedInFloat32,
  blockedChannels,
  (graph) => void quantized(graph),
  expandFused,
  nameBatch,
  foldShapes,
  operatorSet,
  foldShapes,
  batchExpansion,
  identities,
  freeBatch,
  // What is computed is written as our builders write it.
  expandFused,
  flatGathers,
  masks,
  layerNorm,
  rmsNorm,
  activation,
  partsToSplit,
  scores,
  linear,
  storedLinears,
  fixedSums,
  parameterNames,
  ownFills,
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

/**
 * Brings what another tool did to the numbers in a file of ours to our form, in place; the rest of it is in that. One that we
 * quantized stays as it is.
 * @returns notes for the user, a line each
 */
export function quantizedSince(graph: Graph): string[] {
  const context: ImportContext = { options: {}, notes: [] };
  if (graph.metadata.has('pqv.quantization') || foreignQuantization(graph)) return context.notes;
  computedInFloat32(graph, context);
  const found = quantized(graph);
  if (!found && context.notes.length === 0) return context.notes;
  inferGraph(graph);
  expandFused(graph);
  storedLinears(graph);
  return context.notes;
}
