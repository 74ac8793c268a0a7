import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { dataTypes, type NumericType, Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';

/** Tensors of one element type in another, one at a time on the engine. Beyond its range float16 is infinite. */
export async function castTensors(
  engine: Engine,
  tensors: readonly Tensor[],
  to: NumericType,
): Promise<Tensor[]> {
  const [first] = tensors;
  if (!first) return [];
  const graph = new Graph('cast');
  const x = graph.addInput('x', first.dtype, ['n']);
  graph.outputs.push(new Builder(graph).op('Cast', [x], { to: dataTypes[to].onnx }, 'y'));
  const session = await engine.load(graph);
  try {
    const results: Tensor[] = [];
    for (const tensor of tensors) {
      const { y } = await session.run({ x: new Tensor(tensor.dtype, [tensor.size], tensor.data) });
      results.push(new Tensor(to, tensor.shape, y!.data));
      tensor.release();
    }
    return results;
  } finally {
    await session.dispose();
  }
}
