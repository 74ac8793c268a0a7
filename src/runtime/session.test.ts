import { expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { fixedBatches } from './fixed-batch.ts';
import { onnxruntime } from './onnxruntime.node.ts';
import { runOnce } from './session.ts';

it('knows what a loaded model takes, symbolic axes by name', async () => {
  const graph = new Graph();
  const pixels = graph.addInput('pixel_values', 'float32', ['N', 3, 8, 8]);
  const labels = graph.addInput('labels', 'int64', [4]);
  const b = new Builder(graph);
  graph.outputs.push(b.op('Relu', [pixels]), b.op('Neg', [labels]));
  const session = await onnxruntime.load(graph);
  expect(session.inputSignatures).toEqual({
    pixel_values: { dtype: 'float32', shape: ['N', 3, 8, 8] },
    labels: { dtype: 'int64', shape: [4] },
  });
  await session.dispose();
});

it('gives float16 as its bits, whatever number types JavaScript has', async () => {
  const graph = new Graph();
  const x = graph.addInput('x', 'float32', [2]);
  graph.outputs.push(new Builder(graph).op('Cast', [x], { to: 10 }, 'y'));
  const { y } = await runOnce(onnxruntime, graph, { x: Tensor.float32([2], [1, 1e9]) });
  expect(y!.data).toEqual(Uint16Array.of(0x3c00, 0x7c00));
});

it('fills the last of the batches of a model that takes one size only', () => {
  const pixels = Tensor.float32([5, 1], [1, 2, 3, 4, 5]);
  const made = [...fixedBatches(pixels, 2)].map(({ batch, images }) => [
    batch.shape[0],
    ...batch.floats,
    images,
  ]);
  expect(made).toEqual([
    [2, 1, 2, 2],
    [2, 3, 4, 2],
    [2, 5, 5, 1],
  ]);
});
