import { describe, expect, it } from 'vitest';
import { Builder } from './builder.ts';
import { checkGraph } from './check.ts';
import { countMacs } from './cost.ts';
import { divideDims, multiplyDims, sameDim, sameShape } from './dim.ts';
import { Graph } from './graph.ts';
import { inferNode } from './infer.ts';
import { Tensor } from './tensor.ts';

function mlp() {
  const graph = new Graph('mlp');
  const x = graph.addInput('x', 'float32', ['N', 5, 4]);
  const b = new Builder(graph);
  const weight = graph.addConstant('fc.weight', Tensor.zeros('float32', [8, 4]));
  const product = b.op('MatMul', [x, b.op('Transpose', [weight], { perm: [1, 0] })]);
  const y = b.op('Relu', [b.op('Add', [product, Tensor.zeros('float32', [8])])], {}, 'y');
  graph.outputs.push(y);
  return { graph, x, weight, y, b };
}

describe('Graph', () => {
  it('has the shapes that the builder infers, symbolic axes included', () => {
    const { y } = mlp();
    expect(y.shape).toEqual(['N', 5, 8]);
    expect(y.dtype).toBe('float32');
  });

  it('counts multiply-accumulates for one image', () => {
    expect(countMacs(mlp().graph)).toBe(5 * 4 * 8);
  });

  it('keeps use lists right through edits', () => {
    const { graph, x, y, b } = mlp();
    const doubled = b.op('Add', [x, x]);
    const reader = graph.nodes[1]!;
    reader.setInput(0, doubled);
    graph.sort();
    expect(checkGraph(graph)).toEqual([]);
    graph.replaceUses(doubled, x);
    expect(graph.removeDead()).toBe(1);
    expect(x.uses.map((use) => use.node.opType)).toEqual(['MatMul']);
    expect(graph.outputs).toEqual([y]);
    expect(checkGraph(graph)).toEqual([]);
  });

  it('refuses to remove what is still read', () => {
    const { graph, weight } = mlp();
    expect(() => graph.removeConstant(weight)).toThrow(/Transpose/);
    expect(() => graph.removeNodes([graph.nodes[1]!])).toThrow(/can't be removed/);
  });

  it('names the node whose inputs do not fit', () => {
    const { graph, x, b } = mlp();
    expect(() => b.op('MatMul', [x, graph.constants.get('fc.weight')])).toThrow(
      /MatMul.*inner dimensions 4 and 8/,
    );
  });

  it('clones without sharing links', () => {
    const { graph } = mlp();
    const { graph: copy } = graph.clone();
    copy.removeNodes([]);
    copy.nodes[1]!.setInput(0, copy.nodes[0]!.output());
    expect(checkGraph(graph)).toEqual([]);
    expect(graph.nodes[1]!.input(0).name).toBe('x');
  });

  it('tells which value of a clone stands for which, those of subgraphs included', () => {
    const graph = new Graph('outer');
    const x = graph.addInput('x', 'float32', [2]);
    const branch = new Graph('branch', graph);
    const doubled = new Builder(branch).op('Add', [x, x]);
    branch.outputs.push(doubled);
    const condition = graph.addConstant('condition', new Tensor('bool', [], Uint8Array.of(1)));
    const y = new Builder(graph).op('If', [condition], {
      then_branch: { kind: 'graph', value: branch },
    });
    graph.outputs.push(y);
    const { graph: copy, values } = graph.clone();
    expect(checkGraph(copy)).toEqual([]);
    expect(values.get(x)).toBe(copy.inputs[0]);
    expect(values.get(y)).toBe(copy.outputs[0]);
    const inner = values.get(doubled)!;
    expect(inner.producer!.inputs).toEqual([copy.inputs[0], copy.inputs[0]]);
    expect(inner).not.toBe(doubled);
    expect(inner.shape).toEqual([2]);
  });

  it('infers nothing by itself: the builder asks for it', () => {
    const { graph, x } = mlp();
    const node = graph.addNode({ opType: 'Relu', inputs: [x] });
    expect(node.output().shape).toBeUndefined();
    inferNode(node);
    expect(node.output().shape).toEqual(['N', 5, 4]);
  });

  it('finds a value read before it is made', () => {
    const { graph, b } = mlp();
    const late = b.op('Neg', [graph.inputs[0]]);
    graph.nodes[1]!.setInput(0, late);
    expect(checkGraph(graph)).toEqual([expect.stringMatching(/before it is made/)]);
    graph.sort();
    expect(checkGraph(graph)).toEqual([]);
  });
});

describe('axis lengths', () => {
  it('multiply and divide as monomials', () => {
    expect(multiplyDims(['N', 197])).toBe('197*N');
    expect(divideDims('197*N', 197)).toBe('N');
    expect(divideDims('197*N', 'N')).toBe(197);
    expect(divideDims(10, 4)).toBeUndefined();
  });

  it('of which nothing is known are equal to nothing, themselves included', () => {
    expect([sameDim('N', 'N'), sameDim('?', '?'), sameDim('2*?', '2*?')]).toEqual([true, false, false]);
    expect(sameShape(['N', 3], ['N', 3])).toBe(true);
    expect(sameShape(['?', 3], ['?', 3])).toBe(false);
    expect(divideDims('6*?', '?')).toBeUndefined();
    expect(divideDims('6*?', 6)).toBe('?');
  });
});
