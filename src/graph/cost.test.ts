import { describe, expect, it } from 'vitest';
import { Builder } from './builder.ts';
import { countMacs, uncountedNodes } from './cost.ts';
import { Graph } from './graph.ts';
import { Tensor } from './tensor.ts';

const weights = (rows: number, columns: number) => Tensor.zeros('float32', [rows, columns]);

describe('multiply-accumulates', () => {
  it('are those of nodes that inputs and outputs need', () => {
    const graph = new Graph('g');
    const x = graph.addInput('x', 'float32', ['N', 4, 8]);
    const b = new Builder(graph);
    const used = b.op('MatMul', [x, weights(8, 3)]);
    b.op('MatMul', [x, weights(8, 100)]);
    const table = b.op('MatMul', [weights(4, 5), weights(5, 3)]);
    graph.outputs.push(b.op('Add', [used, table]));
    expect(countMacs(graph)).toBe(4 * 8 * 3);
    expect(uncountedNodes(graph)).toEqual([]);
  });

  it('are for one image, also of a model that takes two', () => {
    const graph = new Graph('g');
    const x = graph.addInput('x', 'float32', [2, 4, 8]);
    graph.outputs.push(new Builder(graph).op('MatMul', [x, weights(8, 3)]));
    expect(countMacs(graph)).toBe(4 * 8 * 3);
  });

  it('are said to leave out what ONNX Runtime fused', () => {
    const graph = new Graph('g');
    const x = graph.addInput('x', 'float32', ['N', 5, 8]);
    const images = graph.addInput('images', 'float32', ['N', 2, 4, 4]);
    const b = new Builder(graph);
    const kernel = Tensor.zeros('float32', [3, 2, 2, 2]);
    graph.outputs.push(
      b.op('com.microsoft.Attention', [x, weights(8, 24)], { num_heads: 2 }),
      b.op('com.microsoft.FusedConv', [images, kernel], { activation: 'Relu' }),
      b.op('com.microsoft.BiasGelu', [x, Tensor.zeros('float32', [8])]),
    );
    expect(uncountedNodes(graph).map(({ opType }) => opType)).toEqual(['Attention', 'FusedConv']);
  });

  it('are said to leave out what has no rule, and what has no shape', () => {
    const graph = new Graph('g');
    const x = graph.addInput('x', 'float32', ['N', 4, '?']);
    const b = new Builder(graph);
    const product = b.op('MatMul', [x, weights(8, 3)], {}, 'unshaped');
    const foreign = graph.addNode({
      opType: 'Mix',
      domain: 'some.where',
      inputs: [product],
      name: 'foreign',
    });
    graph.outputs.push(foreign.output());
    expect(uncountedNodes(graph).map(({ op }) => op)).toEqual(['MatMul', 'some.where.Mix']);
  });
});
