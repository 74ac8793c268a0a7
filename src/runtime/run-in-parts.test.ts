import { expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from './onnxruntime.node.ts';
import { runInParts } from './run-in-parts.ts';
import { runOnce, type Session } from './session.ts';

const width = 32;

/** Layers whose weights are read from somewhere when they are asked for, a residual over all of them, two outputs. */
function layered(layers: number, read: (layer: number) => void): Graph {
  const graph = new Graph('layered');
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', width]);
  const outputs = [];
  let at = x;
  for (let layer = 0; layer < layers; layer++) {
    const random = new Random(layer);
    const numbers = Float32Array.from({ length: width * width }, () => random.normal() / 6);
    const weight = new Tensor('float32', [width, width], () => {
      read(layer);
      return numbers;
    });
    at = b.op('Tanh', [b.op('MatMul', [at, graph.addConstant(`w${layer}`, weight)])]);
    if (layer === 1) outputs.push(at);
  }
  graph.outputs.push(...outputs, b.op('Add', [at, x]));
  return graph;
}

it('computes what one run computes, with one weight in memory at a time', async () => {
  const reads: number[] = [];
  const graph = layered(5, (layer) => reads.push(layer));
  const loads: number[] = [];
  const counting = {
    name: 'counting',
    load(model: Graph | Uint8Array | string, options?: object): Promise<Session> {
      loads.push((model as Graph).constants.size);
      return onnxruntime.load(model, options);
    },
  };
  const feeds = {
    x: Tensor.float32(
      [3, width],
      Float32Array.from({ length: 3 * width }, (_, i) => Math.sin(i)),
    ),
  };
  const found = await runInParts(counting, graph, feeds, 4 * width * width);
  expect(loads).toEqual([1, 1, 1, 1, 1]);
  expect(reads).toEqual([0, 1, 2, 3, 4]);
  const expected = await runOnce(onnxruntime, graph, feeds);
  expect(reads.slice(5), 'the weights were let go of').toEqual([0, 1, 2, 3, 4]);
  expect(Object.keys(found)).toEqual(Object.keys(expected));
  for (const [name, tensor] of Object.entries(expected)) {
    expect(found[name]!.shape).toEqual(tensor.shape);
    for (const [i, value] of tensor.floats.entries()) expect(found[name]!.floats[i]).toBeCloseTo(value, 5);
  }
});

it('takes a small model whole', async () => {
  let loads = 0;
  const counting = {
    name: 'counting',
    load: (model: Graph | Uint8Array | string, options?: object) => {
      loads++;
      return onnxruntime.load(model, options);
    },
  };
  await runInParts(
    counting,
    layered(3, () => {}),
    { x: Tensor.zeros('float32', [1, width]) },
  );
  expect(loads).toBe(1);
});
