import { expect, it } from 'vitest';
import { Builder } from './builder.ts';
import { Graph, type Value } from './graph.ts';
import { residualBranches } from './residual.ts';
import { Tensor } from './tensor.ts';

/** The names of the Adds that end branches of a graph of `x` `[N, 4, 4]`. */
function endsOf(build: (b: Builder, x: Value, linear: (value: Value) => Value) => void): string[] {
  const graph = new Graph();
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 4, 4]);
  build(b, x, (value) => b.op('MatMul', [value, Tensor.float32([4, 4], Array(16).fill(0.1))]));
  return residualBranches(graph).map(({ end, side }) => `${end.output().name} ${side}`);
}

it('finds what is added to what it was computed from, on either side', () => {
  const ends = endsOf((b, x, linear) => {
    const first = b.op('Add', [x, linear(b.op('Tanh', [x]))], {}, 'first');
    b.op('Add', [b.op('Tanh', [linear(first)]), first], {}, 'second');
  });
  expect(ends).toEqual(['first 1', 'second 0']);
});

it('finds both of two branches of one place', () => {
  const ends = endsOf((b, x, linear) => {
    const normed = b.op('Tanh', [x]);
    b.op('Add', [b.op('Add', [x, linear(normed)], {}, 'attention'), linear(normed)], {}, 'mlp');
  });
  expect(ends).toEqual(['attention 1', 'mlp 1']);
});

it('leaves out biases, activations, sums of unrelated things, a convolution of positions, and what is in a branch', () => {
  const ends = endsOf((b, x, linear) => {
    const biased = b.op('Add', [linear(x), Tensor.float32([4], [1, 2, 3, 4])], {}, 'bias');
    const cubed = b.op('Mul', [biased, b.op('Mul', [biased, biased])]);
    const bent = b.op('Add', [biased, cubed], {}, 'activation');
    const sum = b.op('Add', [linear(bent), b.op('Tanh', [linear(bent)])], {}, 'unrelated');
    const kernel = Tensor.float32([4, 1, 3], Array(12).fill(0.1));
    const seen = b.op('Conv', [sum, kernel], { group: 4, pads: [1, 1], kernel_shape: [3] });
    const placed = b.op('Add', [sum, seen], {}, 'positions');
    const queries = linear(placed);
    const attended = b.op('Add', [b.op('MatMul', [queries, queries]), queries], {}, 'queries');
    b.op('Add', [placed, linear(attended)], {}, 'branch');
  });
  expect(ends).toEqual(['branch 1']);
});
