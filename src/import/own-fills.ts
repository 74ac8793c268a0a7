import type { Graph, Value } from '../graph/graph.ts';
import { parameters, setParameters } from '../graph/parameters.ts';

/**
 * A constant of one number over and over (a bias of zeros, a scale of ones) that several nodes read becomes one for each:
 * exporters write equal ones once, and layers that share one would have to lose the same channels.
 *
 * It does not fire on scalars, and on constants of other numbers: what layers share that has learned something they share on purpose.
 */
export function ownFills(graph: Graph): void {
  const trained = parameters(graph).map(({ name }) => name);
  const made: string[] = [];
  for (const value of [...graph.constants.values()]) {
    if (value.uses.length < 2 || !isFill(value)) continue;
    for (const { node, index } of value.uses.slice(1)) {
      const own = graph.addConstant(graph.uniqueName(value.name), value.tensor!);
      node.setInput(index, own);
      if (trained.includes(value.name)) made.push(own.name);
    }
  }
  if (made.length > 0) setParameters(graph, [...trained, ...made]);
}

function isFill({ dtype, tensor }: Value): boolean {
  if (dtype !== 'float32' || tensor!.size < 2) return false;
  const [first] = tensor!.floats;
  return tensor!.floats.every((number) => number === first);
}
