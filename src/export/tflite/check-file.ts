import { readTflite } from './read.ts';
import { builtins } from './schema.ts';

/** What a `.tflite` file says of itself. */
export interface TfliteSummary {
  /** `name [shape]` of each. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** How often each operator stands in it. */
  readonly operators: Readonly<Record<string, number>>;
  readonly metadata: readonly string[];
}

/**
 * Reads a written file back: every operator is one that we write, reads what is made before it, and every constant has its
 * bytes.
 * @throws UserError when it can't be read; Error when it does not hold together
 */
export function checkTflite(bytes: Uint8Array): TfliteSummary {
  const { graphs, metadata } = readTflite(bytes, 'the written file');
  const [{ tensors, ...graph }] = graphs as [(typeof graphs)[number]];
  const ready = new Set(graph.inputs);
  for (const [i, { name, bytes: found, expectedBytes }] of tensors.entries()) {
    if (!found) continue;
    ready.add(i);
    if (found !== expectedBytes) throw new Error(`${name} has ${found} bytes, not ${expectedBytes}`);
  }
  const operators: Record<string, number> = {};
  for (const { name, inputs, outputs } of graph.operators) {
    if (!Object.hasOwn(builtins, name)) throw new Error(`the written file has ${name}, which we don't write`);
    operators[name] = (operators[name] ?? 0) + 1;
    for (const input of inputs) {
      if (input !== -1 && !ready.has(input)) throw new Error(`${name} reads a tensor before it is made`);
    }
    for (const output of outputs) ready.add(output);
  }
  const described = (indices: readonly number[]) =>
    indices.map((i) => {
      if (!ready.has(i)) throw new Error('an output of the written file is not made');
      return `${tensors[i]!.name} [${tensors[i]!.shape}]`;
    });
  return {
    inputs: described(graph.inputs),
    outputs: described(graph.outputs),
    operators,
    metadata: [...metadata.keys()],
  };
}
