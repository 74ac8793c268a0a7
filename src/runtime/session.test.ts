import { expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { onnxruntime } from './onnxruntime.node.ts';

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
