import { describe, expect, it } from 'vitest';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { Builder } from './builder.ts';
import { checkGraph } from './check.ts';
import { Graph } from './graph.ts';
import { caseFeeds, caseGraph, inOpsets, sequence } from './op-cases/case.ts';
import { opCases } from './op-cases/cases.ts';
import { raiseOpset } from './raise-opset.ts';

const target = 18;

describe('a graph of an older operator set', () => {
  it.each(inOpsets(opCases).filter(({ op, opset }) => opset < target && !op.includes('.')))(
    'computes the same when $op of $opset is raised: $one.args',
    async ({ one, opset }) => {
      const { graph } = caseGraph(one, opset);
      const feeds = caseFeeds(one, sequence(3));
      const options = { optimization: 'disabled' } as const;
      const before = await runOnce(onnxruntime, graph, feeds, options);
      const shapes = graph.outputs.map(({ shape }) => shape);
      raiseOpset(graph, target);
      expect(graph.opsets.get('')).toBe(target);
      expect(checkGraph(graph)).toEqual([]);
      expect(graph.outputs.map(({ shape }) => shape)).toEqual(shapes);
      const after = await runOnce(onnxruntime, graph, feeds, options);
      expect(Object.keys(after)).toEqual(Object.keys(before));
      for (const [name, tensor] of Object.entries(before)) expect(after[name]!.data).toEqual(tensor.data);
    },
  );

  it('is left alone when it is new enough, and refused at an op that nobody knows', () => {
    const graph = new Graph();
    const x = graph.addInput('x', 'float32', [2]);
    new Builder(graph).op('Mystery', [x]);
    expect(raiseOpset(graph, target).size).toBe(0);
    expect(graph.opsets.get('')).toBe(20);
    graph.opsets.set('', 11);
    expect(() => raiseOpset(graph, target)).toThrow(/Mystery.*operator set 11 for 18/);
  });
});
