import * as z from 'zod';
import { parseJsonAs } from '../common/json.ts';
import type { Graph, Value } from './types.ts';

/** Where the names are kept in a graph's metadata, JSON arrays. */
const keys = { parameters: 'pqv.parameters', buffers: 'pqv.buffers' } as const;

/** The model's trainable parameters: the constants a checkpoint gave it, by their names there. */
export function parameters(graph: Graph): Value[] {
  return recorded(graph, 'parameters');
}

/** What else a checkpoint gives a model and training does not change: running statistics, tables. */
export function buffers(graph: Graph): Value[] {
  return recorded(graph, 'buffers');
}

/** Records which constants are the model's parameters. */
export function setParameters(graph: Graph, names: readonly string[]): void {
  graph.metadata.set(keys.parameters, JSON.stringify(names));
}

/** Records which constants are the model's buffers. */
export function setBuffers(graph: Graph, names: readonly string[]): void {
  if (names.length) graph.metadata.set(keys.buffers, JSON.stringify(names));
  else graph.metadata.delete(keys.buffers);
}

function recorded(graph: Graph, kind: keyof typeof keys): Value[] {
  const names = graph.metadata.get(keys[kind]);
  if (!names) return [];
  const recordedNames = parseJsonAs(z.array(z.string()), names, `the model's note "${keys[kind]}"`);
  return recordedNames.flatMap((name) => graph.constants.get(name) ?? []);
}
