import type { Graph, Value } from './types.ts';

/** Puts `to` in the place of `from`: every use, graph outputs included, and the name. `from` is left unread. */
export function replaceValue(graph: Graph, from: Value, to: Value): void {
  const { name } = from;
  graph.replaceUses(from, to);
  graph.rename(from, graph.uniqueName(`${name}_replaced`));
  graph.rename(to, name);
}

/** Makes a name free, which a value of a model from elsewhere may bear: that value is called otherwise. Returns the name. */
export function freeName(graph: Graph, name: string): string {
  const bearer = graph.uniqueName(name) === name ? undefined : graph.find(name);
  if (bearer) graph.rename(bearer, graph.uniqueName(`${name}_of_model`));
  return name;
}
