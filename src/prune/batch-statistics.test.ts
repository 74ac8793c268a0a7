import { expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { reestimateStatistics } from './batch-statistics.ts';

const random = new Random(4);
const noise = (shape: readonly number[], centre = 0) =>
  Tensor.float32(
    shape,
    Float32Array.from({ length: elementCount(shape) }, () => centre + random.normal()),
  );

/** Two convolutions with a batch norm each, the first's output added behind the second. */
function network(): { graph: Graph; inputs: Value[] } {
  const graph = new Graph('norms');
  const b = new Builder(graph);
  const inputs: Value[] = [];
  const layer = (name: string, x: Value, channels: [number, number]) => {
    const made = b.op('Conv', [
      x,
      graph.addConstant(`${name}.weight`, noise([channels[1], channels[0], 1, 1])),
    ]);
    inputs.push(made);
    const vector = (part: string, value: number) =>
      graph.addConstant(`${name}.bn.${part}`, Tensor.float32([channels[1]], Array(channels[1]).fill(value)));
    const statistics = [vector('weight', 1.5), vector('bias', 0.3), vector('mean', 7), vector('var', 9)];
    return b.op('BatchNormalization', [made, ...statistics]);
  };
  const x = graph.addInput('x', 'float32', ['N', 3, 2, 2]);
  const first = b.op('Relu', [layer('a', x, [3, 4])]);
  graph.outputs.push(b.op('Add', [first, layer('b', first, [4, 4])]) as never);
  return { graph, inputs };
}

/** Mean and unbiased variance of each channel, in float64. */
function statisticsOf(tensors: readonly Tensor[]): { mean: number[]; variance: number[] } {
  const channels = tensors[0]!.shape[1]!;
  const columns = Array.from({ length: channels }, () => [] as number[]);
  for (const { shape, floats } of tensors) {
    const space = elementCount(shape.slice(2));
    for (const [e, value] of floats.entries()) columns[Math.floor(e / space) % channels]!.push(value);
  }
  const mean = columns.map((values) => values.reduce((sum, value) => sum + value, 0) / values.length);
  const variance = columns.map(
    (values, i) => values.reduce((sum, value) => sum + (value - mean[i]!) ** 2, 0) / (values.length - 1),
  );
  return { mean, variance };
}

it('batch norms get the statistics of their inputs, each behind those that have theirs', async () => {
  const { graph, inputs } = network();
  const images = [noise([5, 3, 2, 2], 2), noise([3, 3, 2, 2], -1)].map((pixels) => ({ pixels }));
  await reestimateStatistics(onnxruntime, graph, images);
  const { graph: watched, values } = graph.clone();
  watched.outputs.push(...inputs.map((value) => values.get(value) as never));
  const seen = await Promise.all(images.map(({ pixels }) => runOnce(onnxruntime, watched, { x: pixels })));
  for (const [i, name] of ['a', 'b'].entries()) {
    const { mean, variance } = statisticsOf(seen.map((outputs) => outputs[inputs[i]!.name]!));
    const [found, spread] = ['mean', 'var'].map(
      (part) => graph.constants.get(`${name}.bn.${part}`)!.tensor!.floats,
    );
    for (const [c, wanted] of mean.entries()) expect(found![c]).toBeCloseTo(wanted, 4);
    for (const [c, wanted] of variance.entries()) expect(spread![c]! / wanted).toBeCloseTo(1, 4);
  }
});

it('statistics that two norms share are left alone', async () => {
  const { graph } = network();
  const [first, second] = graph.nodes.filter(({ op }) => op === 'BatchNormalization');
  second!.setInput(3, first!.input(3));
  await reestimateStatistics(onnxruntime, graph, [{ pixels: noise([5, 3, 2, 2], 2) }]);
  expect([...graph.constants.get('a.bn.mean')!.tensor!.floats]).toEqual([7, 7, 7, 7]);
  expect([...graph.constants.get('b.bn.var')!.tensor!.floats]).toEqual([9, 9, 9, 9]);
});

it('needs images', async () => {
  await expect(reestimateStatistics(onnxruntime, network().graph, [])).rejects.toThrow(/need images/);
});
