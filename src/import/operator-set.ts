import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { raiseOpset } from '../graph/raise-opset.ts';
import type { ImportContext } from './pass.ts';

/** The operator set that our builders write. */
const ours = 20;

/** Brings a graph of an older operator set to ours; one with an operator that we can't say that of stays as it is. */
export function operatorSet(graph: Graph, { notes }: ImportContext): void {
  const { graph: attempt } = graph.clone();
  try {
    raiseOpset(attempt, ours);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(error.message);
    return;
  }
  raiseOpset(graph, ours);
}
