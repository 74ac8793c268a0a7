import type { Graph, Value } from '../graph/graph.ts';
import type { Kept } from './apply.ts';
import { findDependencies } from './dependency.ts';

/**
 * Which indices of the axes of any value of a graph are left, when of its parameters those are that pruning has kept.
 * @param graph before pruning
 * @returns indices by axis; axes that lose nothing are left out
 */
export function keptChannels(graph: Graph, kept: Kept): (value: Value) => Map<number, number[]> {
  const { constants, layout, layouts } = findDependencies(graph);
  const rootOf = (label: number): number => layouts.labels.find(label);
  const gone = new Set<number>();
  for (const parameter of constants) {
    for (const { axes, labels } of layout(parameter)) {
      const indices = kept[parameter.name]?.[axes[0]!];
      if (!indices) continue;
      const left = new Set(indices);
      labels.forEach((label, i) => {
        if (!left.has(i)) gone.add(rootOf(label));
      });
    }
  }
  return (value) => {
    const found = new Map<number, number[]>();
    for (const { axes, labels } of layout(value)) {
      if (axes.length > 1) continue;
      const left = [...labels.keys()].filter((i) => !gone.has(rootOf(labels[i]!)));
      if (left.length < labels.length) found.set(axes[0]!, left);
    }
    return found;
  };
}
