import { describe, expect, it } from 'vitest';
import { Builder } from '../../graph/builder.ts';
import { Graph } from '../../graph/graph.ts';
import { setParameters } from '../../graph/parameters.ts';
import { Tensor } from '../../graph/tensor.ts';
import { lowerGraph } from './lower-graph.ts';

/** Two static int8 layers that read the same numbers, one with a bias. */
function layers() {
  const graph = new Graph('static');
  const x = graph.addInput('x', 'float32', ['N', 3, 4]);
  const scale = graph.addConstant('x_scale', Tensor.scalar(0.5));
  const zero = graph.addConstant('x_zero_point', new Tensor('uint8', [], Uint8Array.of(100)));
  const b = new Builder(graph);
  const rounded = b.op('DequantizeLinear', [b.op('QuantizeLinear', [x, scale, zero]), scale, zero]);
  const layer = (name: string) => {
    const weight = graph.addConstant(`${name}.weight`, new Tensor('int8', [4, 2], new Int8Array(8).fill(3)));
    const units = graph.addConstant(`${name}.weight_scale`, Tensor.float32([2], [0.5, 0.25]));
    return b.op('MatMul', [rounded, b.op('DequantizeLinear', [weight, units], { axis: 1 })]);
  };
  const bias = graph.addConstant('a.bias', Tensor.float32([2], [1, 2]));
  graph.outputs.push(b.op('Add', [layer('a'), bias]), layer('b'));
  setParameters(graph, ['a.weight', 'a.bias', 'b.weight']);
  return graph;
}

it('a weight that two int8 layers share under other scales is packed for each', () => {
  const graph = new Graph('shared');
  const x = graph.addInput('x', 'float32', ['N', 4]);
  const b = new Builder(graph);
  const weight = graph.addConstant('a.weight', new Tensor('int8', [4, 2], new Int8Array(8).fill(3)));
  const layer = (scale: number) =>
    b.op('com.microsoft.DynamicQuantizeMatMul', [x, weight, Tensor.scalar(scale)]);
  graph.outputs.push(layer(0.5), layer(0.25), layer(0.5));
  const products = lowerGraph(graph).calls.filter(({ operator }) => operator === 'quantized::linear_dynamic');
  expect(products.map(({ args }) => args[1])).toMatchObject([
    { name: 'a._packed_params', scales: [0.5] },
    { name: 'a._packed_params_1', scales: [0.25] },
    { name: 'a._packed_params', scales: [0.5] },
  ]);
});

describe('static int8 layers', () => {
  it('give their range to the dynamic operator, clamped once for all readers', () => {
    const { calls, state } = lowerGraph(layers());
    const named = (operator: string) => calls.filter((call) => call.operator === operator);
    expect(named('aten::clamp').map(({ args }) => args.slice(1))).toEqual([
      [
        { kind: 'float', value: -50 },
        { kind: 'float', value: 77.5 },
      ],
    ]);
    expect(named('aten::cat')).toHaveLength(1);
    const products = named('quantized::linear_dynamic');
    expect(products.map(({ args }) => args[1])).toMatchObject([
      { name: 'a._packed_params', bias: { shape: [2] } },
      { name: 'b._packed_params', bias: undefined },
    ]);
    expect(products.map(({ args }) => args[2])).toEqual(Array(2).fill({ kind: 'bool', value: false }));
    expect(named('aten::reshape').at(-1)!.args[1]).toMatchObject({
      items: [{ value: -1 }, { value: 3 }, { value: 2 }],
    });
    expect(named('aten::quantize_per_tensor').concat(named('aten::dequantize.self'))).toEqual([]);
    expect(state).toEqual([]);
  });

  it('refuses a scale that is computed', () => {
    const graph = layers();
    const quantize = graph.nodes.find((node) => node.op === 'QuantizeLinear')!;
    const computed = new Builder(graph, quantize).op('ReduceMax', [graph.inputs[0]!], { keepdims: 0 });
    for (const node of graph.nodes) if (node.inputs[1]?.name === 'x_scale') node.setInput(1, computed);
    expect(() => lowerGraph(graph)).toThrow(/constant scale and zero point of 8 bits/);
  });

  it('are computed as they stand where numbers were rounded with another scale', () => {
    const graph = layers();
    const other = graph.addConstant('other', Tensor.scalar(0.25));
    graph.nodes.find((node) => node.op === 'DequantizeLinear')!.setInput(1, other);
    const operators = lowerGraph(graph).calls.map(({ operator }) => operator);
    expect(operators.filter((name) => /round|clamp|quantize/.test(name))).toEqual([
      'aten::round',
      'aten::clamp',
    ]);
  });
});
