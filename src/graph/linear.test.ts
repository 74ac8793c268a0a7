import { describe, expect, it } from 'vitest';
import { float } from './attribute.ts';
import { Builder } from './builder.ts';
import { globMatcher } from './glob.ts';
import { Graph } from './graph.ts';
import { linears } from './linear.ts';
import { Tensor } from './tensor.ts';

function setup() {
  const graph = new Graph('linears');
  const x = graph.addInput('x', 'float32', ['N', 4]);
  const b = new Builder(graph);
  const weight = (name: string, shape: number[]) => graph.addConstant(name, Tensor.zeros('float32', shape));
  return { graph, x, b, weight };
}
const bias = () => Tensor.zeros('float32', [8]);

describe('linears', () => {
  it('finds a product with a transposed weight and its bias', () => {
    const { graph, x, b, weight } = setup();
    const product = b.op('MatMul', [x, b.op('Transpose', [weight('w', [8, 4])], { perm: [1, 0] })]);
    const y = b.op('Add', [bias(), product]);
    graph.outputs.push(y);
    const [linear, ...others] = linears(graph);
    expect(others).toEqual([]);
    expect(linear).toMatchObject({ layout: 'out,in', input: x, output: y });
    expect(linear!.weight.name).toBe('w');
    expect(linear!.bias?.shape).toEqual([8]);
  });

  it('leaves an Add that is not the bias alone', () => {
    const { graph, x, b, weight } = setup();
    const shared = b.op('MatMul', [x, weight('w', [4, 8])]);
    const wide = b.op('MatMul', [x, weight('v', [4, 8])]);
    graph.outputs.push(shared, b.op('Add', [shared, bias()]), b.op('Add', [wide, Tensor.scalar(1)]));
    expect(linears(graph).map(({ layout, bias }) => [layout, bias])).toEqual([
      ['in,out', undefined],
      ['in,out', undefined],
    ]);
  });

  it('takes Gemm only when it is a plain linear layer', () => {
    const { graph, x, b, weight } = setup();
    const w = weight('w', [8, 4]);
    b.op('Gemm', [x, w, bias()], { transB: 1 });
    b.op('Gemm', [x, w, bias()], { transB: 1, alpha: float(2) });
    b.op('Gemm', [x, w, b.op('Neg', [bias()])], { transB: 1 });
    expect(linears(graph)).toHaveLength(1);
  });

  it('is not a product of two activations', () => {
    const { graph, x, b } = setup();
    b.op('MatMul', [x, b.op('Transpose', [x], { perm: [1, 0] })]);
    expect(linears(graph)).toEqual([]);
  });
});

describe('globMatcher', () => {
  it('matches whole names, dots and all', () => {
    const matches = globMatcher(['head.*', '*.fc?.weight']);
    expect(['head.weight', 'blocks.0.mlp.fc1.weight', 'head', 'xhead.weight'].map(matches)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});
