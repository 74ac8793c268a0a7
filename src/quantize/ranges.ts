import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Tensors } from '../runtime/session.ts';

/**
 * The largest magnitude that every float32 value of the graph takes over some inputs, by name;
 * constants are not looked at. One pass; only the maxima leave the engine.
 */
export async function largestMagnitudes(
  engine: Engine,
  source: Graph,
  batches: Iterable<Tensors> | AsyncIterable<Tensors>,
): Promise<Map<string, number>> {
  const { graph } = source.clone();
  const values: Value[] = [...graph.inputs, ...graph.nodes.flatMap((node) => node.outputs)].filter(
    (value): value is Value => value?.dtype === 'float32',
  );
  const b = new Builder(graph);
  const maxima = values.map((value) =>
    b.op('Reshape', [b.op('ReduceMax', [b.op('Abs', [value])], { keepdims: 0 }), Tensor.int64([1])]),
  );
  graph.outputs.splice(0, Infinity, b.op('Concat', maxima, { axis: 0 }, 'magnitudes'));
  const name = graph.outputs[0]!.name;
  const session = await engine.load(graph);
  const largest = new Float32Array(values.length);
  try {
    for await (const feeds of batches) {
      const found = (await session.run(feeds))[name]!.floats;
      found.forEach((magnitude, i) => {
        if (!(magnitude <= largest[i]!)) largest[i] = magnitude;
      });
    }
  } finally {
    await session.dispose();
  }
  return new Map(values.map((value, i) => [value.name, largest[i]!]));
}
