import type { Graph, Value } from './types.ts';

/** Puts `to` in the place of `from`: every use, graph outputs included, and the name. `from` is left unread. */
export function replaceValue(graph: Graph, from: Value, to: Value): void {
  const { name } = from;
  graph.replaceUses(from, to);
  graph.rename(from, graph.uniqueName(`${name}_replaced`));
  graph.rename(to, name);
}
