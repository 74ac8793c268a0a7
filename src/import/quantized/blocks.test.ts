import { expect, it } from 'vitest';
import { Builder } from '../../graph/builder.ts';
import { checkGraph } from '../../graph/check.ts';
import { countMacs } from '../../graph/cost.ts';
import { Graph } from '../../graph/graph.ts';
import { setParameters } from '../../graph/parameters.ts';
import { Tensor } from '../../graph/tensor.ts';
import { quantizationTitle } from '../../quantize/describe.ts';
import { assertFullPrecision, quantization } from '../../quantize/record.ts';
import { parameterCount } from '../../zoo/describe.ts';
import { importGraph } from '../import-graph.ts';

const [rows, columns, block] = [80, 6, 32];
const count = Math.ceil(rows / block);

/** A product with a weight of four bits in blocks, the last of them not full, between a softmax and its bias. */
function source(): Graph {
  const graph = new Graph('blocks');
  graph.opsets.set('', 17);
  const b = new Builder(graph);
  const x = b.op('Softmax', [graph.addInput('x', 'float32', ['N', rows])], { axis: -1 });
  const packed = new Tensor(
    'uint8',
    [columns, count, block / 2],
    new Uint8Array((columns * count * block) / 2),
  );
  const scales = Tensor.float32([columns * count], new Float32Array(columns * count).fill(0.1));
  const operands = [
    x,
    graph.addConstant('fc.weight_Q4', packed),
    graph.addConstant('fc.weight_scales', scales),
  ];
  const attributes = { K: rows, N: columns, bits: 4, block_size: block };
  const product = b.op('com.microsoft.MatMulNBits', operands, attributes, 'product');
  graph.outputs.push(
    b.op('Add', [product, graph.addConstant('fc.bias', Tensor.float32([6], Array(6).fill(1)))]),
  );
  return graph;
}

it('a file of weights in blocks is known as such, and counted by its numbers', () => {
  const graph = source();
  importGraph(graph);
  expect(checkGraph(graph)).toEqual([]);
  expect(countMacs(graph)).toBe(rows * columns);
  expect(parameterCount(graph)).toBe(rows * columns + columns);
  const record = quantization(graph)!;
  expect(record.dtype).toBe('int4');
  expect(quantizationTitle(record)).toBe('weights only, int4 weights, a scale a block');
  expect(() => assertFullPrecision(graph, 'prune')).toThrow(
    'the model is already quantized (int4, weights only); pruning comes before quantization: prune the float32 model it came from',
  );
});

it('where parameters are on record their weights in blocks are among them', () => {
  const graph = source();
  setParameters(graph, ['fc.weight', 'fc.bias']);
  importGraph(graph);
  expect(graph.constants.get('fc.weight')?.dtype).toBe('uint8');
  expect(parameterCount(graph)).toBe(rows * columns + columns);
});
