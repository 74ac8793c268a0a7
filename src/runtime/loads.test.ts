import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { assertLoads } from './loads.ts';
import { onnxruntime } from './onnxruntime.node.ts';

/** A product with a weight of a gigabyte, none of which is ever made, and a node after it. */
function large(op: string) {
  const graph = new Graph('large');
  const rows = 1 << 16;
  const x = graph.addInput('x', 'float32', ['N', rows]);
  const read: string[] = [];
  const unread = new Tensor('float32', [rows, 4096], () => {
    read.push('weight');
    return new Float32Array();
  });
  const weight = graph.addConstant('weight', unread);
  const product = new Builder(graph).op('MatMul', [x, weight], {}, 'product');
  const node = graph.addNode({ opType: op, name: 'last', inputs: [product, weight], outputs: ['y'] });
  graph.outputs.push(node.output());
  return { graph, read };
}

describe('assertLoads', () => {
  it('names the node that the engine does not know', async () => {
    const graph = new Graph('small');
    const x = graph.addInput('x', 'float32', ['N', 2]);
    const node = graph.addNode({ opType: 'NoSuchOperator', inputs: [x], outputs: ['y'] });
    graph.outputs.push(node.output());
    await expect(assertLoads(onnxruntime, graph, 'no use')).rejects.toThrow(/no use: .*NoSuchOperator/s);
  });

  it('finds what contradicts in a model of a gigabyte without reading its weights', async () => {
    const { graph, read } = large('Add');
    await expect(assertLoads(onnxruntime, graph, 'no use')).resolves.toBeUndefined();
    const wrong = large('Conv');
    await expect(assertLoads(onnxruntime, wrong.graph, 'no use')).rejects.toThrow(/no use: .*last/s);
    expect([...read, ...wrong.read]).toEqual([]);
  });
});
