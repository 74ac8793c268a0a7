import * as z from 'zod';
import { parseJsonAs } from '../common/json.ts';
import type { Graph } from '../graph/graph.ts';
import { buffers, parameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';

/** Shapes of a state dict, by name. */
export type StateShapes = ReadonlyMap<string, readonly number[]>;

/**
 * What a state dict has beside the graph's constants, as JSON objects in the graph's metadata: counters that
 * no node reads (`num_batches_tracked` of a BatchNorm), as a constant that nobody reads does not outlive a
 * pass, and further names of parameters that modules share.
 */
const keys = { counters: 'pqv.counters', aliases: 'pqv.aliases' } as const;

/** @param counters values of int64 scalars */
export function setCounters(graph: Graph, counters: Readonly<Record<string, number>>): void {
  record(graph, keys.counters, counters);
}

/** Counts batches that the batch norms of a model have learned from. */
export function countBatches(graph: Graph, batches: number): void {
  const counts = recorded(graph, keys.counters, z.number().int()).map(([name, count]) => [
    name,
    name.endsWith('num_batches_tracked') ? count + batches : count,
  ]);
  setCounters(graph, Object.fromEntries(counts));
}

/** @param aliases further name -> name of the constant */
export function setAliases(graph: Graph, aliases: Readonly<Record<string, string>>): void {
  record(graph, keys.aliases, aliases);
}

function record(graph: Graph, key: string, entries: object): void {
  if (Object.keys(entries).length) graph.metadata.set(key, JSON.stringify(entries));
  else graph.metadata.delete(key);
}

function recorded<S extends z.ZodType>(graph: Graph, key: string, value: S): [string, z.output<S>][] {
  const text = graph.metadata.get(key) ?? '{}';
  return Object.entries(parseJsonAs(z.record(z.string(), value), text, `the model's note "${key}"`));
}

/** The state dict as PyTorch has it: parameters, buffers, aliases and counters (int64 scalars); no copies. */
export function stateDict(graph: Graph): Map<string, Tensor> {
  const state = new Map(
    [...parameters(graph), ...buffers(graph)].map((value) => [value.name, value.tensor!] as const),
  );
  for (const [name, source] of recorded(graph, keys.aliases, z.string())) {
    const tensor = state.get(source);
    if (tensor) state.set(name, tensor);
  }
  for (const [name, count] of recorded(graph, keys.counters, z.number().int())) {
    state.set(name, Tensor.scalar(count, 'int64'));
  }
  return state;
}

/** Shapes of tensors, by name. */
export const shapesOf = (tensors: ReadonlyMap<string, Tensor>): StateShapes =>
  new Map([...tensors].map(([name, { shape }]) => [name, shape]));
