import { expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { liveBytes } from './live-bytes.ts';

it('counts what is kept at once: not what was read for the last time, not views, not constants', () => {
  const graph = new Graph('live');
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 10]);
  const weight = graph.addConstant('w', Tensor.float32([10, 100], new Float32Array(1000)));
  const wide = b.op('Relu', [b.op('MatMul', [x, weight])]); // 100, and 100 of the product until here
  const view = b.op('Reshape', [wide, b.ints([-1, 4, 25])]);
  const narrow = b.op('ReduceSum', [view, b.ints([1])], { keepdims: 0 }); // 25 beside the 100
  const total = b.op('ReduceSum', [narrow, b.ints([0])], { keepdims: 0 }); // 25, whatever the images
  graph.outputs.push(total);
  expect(liveBytes(graph, 1)).toBe(4 * 200);
  expect(liveBytes(graph, 3)).toBe(4 * 200 * 3);
  graph.outputs.push(wide);
  expect(liveBytes(graph, 1)).toBe(4 * 200);
  graph.outputs.push(b.op('Exp', [wide]));
  expect(liveBytes(graph, 1)).toBe(4 * (100 + 25 + 100));
});
