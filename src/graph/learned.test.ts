import { expect, it } from 'vitest';
import { Builder } from './builder.ts';
import { Graph } from './graph.ts';
import { learnedConstants } from './learned.ts';
import { Tensor } from './tensor.ts';

const filled = (shape: readonly number[], value: number) =>
  Tensor.float32(shape, new Float32Array(shape.reduce((p, d) => p * d, 1)).fill(value));

it('weights, norms, biases, tokens and positions were learned; masks, tables, statistics and numbers were not', () => {
  const graph = new Graph();
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 4, 6]);
  const constant = (name: string, shape: readonly number[], value = 0.5) =>
    graph.addConstant(name, filled(shape, value));
  const image = graph.addInput('image', 'float32', ['N', 4, 3, 3]);
  const normed = b.op('BatchNormalization', [
    image,
    ...['norm.weight', 'norm.bias', 'running_mean', 'running_var'].map((name) => constant(name, [4])),
  ]);
  const joined = b.op('Concat', [x, b.op('Expand', [constant('token', [1, 1, 6]), b.ints([1, 2, 1])])], {
    axis: 1,
  });
  const placed = b.op('Add', [joined, constant('positions', [6, 6])]);
  const turned = b.op('Mul', [placed, constant('sines', [6, 6])]);
  const scaled = b.op('Mul', [turned, constant('gamma', [6])]);
  const scores = b.op('Add', [scaled, constant('mask', [6, 6], -100)]);
  const product = b.op('MatMul', [scores, b.op('Transpose', [constant('weight', [5, 6])], { perm: [1, 0] })]);
  const table = b.op('MatMul', [constant('coordinates', [6, 2]), constant('table.weight', [2, 5])]);
  const biased = b.op('Add', [b.op('Div', [product, constant('temperature', [5])]), table]);
  graph.outputs.push(
    normed,
    b.op('Add', [biased, Tensor.scalar(1)]),
    b.op('MatMul', [constant('mixer', [3, 4]), x]),
  );
  const names = learnedConstants(graph).map(({ name }) => name);
  expect(names.sort()).toEqual(
    ['norm.weight', 'norm.bias', 'token', 'positions', 'gamma', 'weight', 'table.weight', 'mixer'].sort(),
  );
});
