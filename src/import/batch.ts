import type { Dim, Graph, Value } from '../graph/graph.ts';
import type { ImportContext } from './pass.ts';

/** The name of the batch axis in our graphs. */
export const batchSymbol = 'N';

/** Names the batch axis as in our graphs, and sets the size of the images where it was given. */
export function nameBatch(graph: Graph, { options: { inputSize } }: ImportContext): void {
  const [input] = graph.inputs;
  const first = input?.shape?.[0];
  if (typeof first === 'string' && first !== batchSymbol) {
    const renamed = (dim: Dim): Dim =>
      typeof dim === 'number'
        ? dim
        : dim
            .split('*')
            .map((part) => (part === first ? batchSymbol : part))
            .join('*');
    const values: (Value | undefined)[] = [...graph.inputs, ...graph.nodes.flatMap(({ outputs }) => outputs)];
    for (const value of values) if (value?.shape) value.shape = value.shape.map(renamed);
  }
  if (inputSize && input?.shape?.length === 4) {
    input.shape = [
      input.shape[0]!,
      ...input.shape.slice(1).map((dim, i) => (typeof dim === 'string' ? inputSize[i]! : dim)),
    ];
  }
}
