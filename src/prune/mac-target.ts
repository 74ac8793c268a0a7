import { UserError } from '../common/errors.ts';
import { countMacs } from '../graph/cost.ts';
import type { Graph } from '../graph/graph.ts';
import type { Plan } from './plan.ts';
import { Removal } from './removal.ts';

/** Halvings of the interval in which the ratio is looked for; channels are far coarser. */
const searchSteps = 14;

/** In the unit of the option; what is printed can be asked for. */
const giga = (macs: number): string => String(macs / 1e9);

/** The multiply-accumulates that a graph has after a plan, counted from the plan: nothing is applied. */
export function plannedMacs(graph: Graph, plan: Plan): number {
  const removal = new Removal(plan);
  return countMacs(graph, (value) => removal.shape(value));
}

/**
 * The smallest ratio (to 2^-14) of which the plan leaves at most `target` multiply-accumulates.
 * @throws UserError when the graph has no more than that anyway, or when no plan goes so low
 */
export function ratioForMacs(graph: Graph, planFor: (ratio: number) => Plan, asked: number): number {
  const target = Math.round(asked);
  const macs = (ratio: number) => plannedMacs(graph, planFor(ratio));
  const dense = countMacs(graph);
  if (target >= dense)
    throw new UserError(
      `the model has ${giga(dense)} GMACs already, no more than the ${giga(target)} asked for`,
    );
  let low = 0;
  let high = 1 - 1e-6;
  const least = macs(high);
  if (target < least) {
    throw new UserError(
      `targetMacs ${giga(target)} can't be reached: the least that these options leave is ${giga(least)}`,
    );
  }
  for (let i = 0; i < searchSteps; i++) {
    const middle = (low + high) / 2;
    if (macs(middle) > target) low = middle;
    else high = middle;
  }
  return high;
}
