import type { Graph, Value } from './types.ts';

/** Where the names of the trainable parameters are kept in a graph's metadata, a JSON array. */
const key = 'pqv.parameters';

/** The model's parameters and buffers: the constants a checkpoint gave it, by their names there. */
export function parameters(graph: Graph): Value[] {
  const names = graph.metadata.get(key);
  if (!names) return [];
  return (JSON.parse(names) as string[]).flatMap((name) => graph.constants.get(name) ?? []);
}

/** Records which constants are the model's parameters. */
export function setParameters(graph: Graph, names: readonly string[]): void {
  graph.metadata.set(key, JSON.stringify(names));
}
