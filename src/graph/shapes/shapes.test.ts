import { describe, expect, it } from 'vitest';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { runOnce } from '../../runtime/session.ts';
import { Builder } from '../builder.ts';
import { Graph } from '../graph.ts';
import { inferNode } from '../infer.ts';
import { caseFeeds, caseGraph, concrete, inOpsets, sequence } from '../op-cases/case.ts';
import { opCases } from '../op-cases/cases.ts';
import { Tensor } from '../tensor.ts';
import { shapeRules } from './rules.ts';

/** What ONNX Runtime has no kernel for on a CPU. */
const notOnCpu = new Set(['com.microsoft.BiasSoftmax']);

describe('shape rules agree with the engine', () => {
  it.each(inOpsets(opCases.filter(({ op }) => shapeRules[op] && !notOnCpu.has(op))))(
    '$op in operator set $opset: $one.operands $one.args',
    async ({ one, opset }) => {
      const { graph } = caseGraph(one, opset);
      const declared = graph.outputs.map(({ dtype, shape }) => ({ dtype, shape: shape?.map(concrete) }));
      const results = await runOnce(onnxruntime, graph, caseFeeds(one, sequence(7)), {
        optimization: 'disabled',
      });
      const actual = graph.outputs.map(({ name }) => ({
        dtype: results[name]!.dtype,
        shape: [...results[name]!.shape],
      }));
      expect(declared).toEqual(actual);
    },
  );

  it('every rule has a case', () => {
    const covered = new Set<string>(opCases.map(({ op }) => op));
    expect(Object.keys(shapeRules).filter((op) => !covered.has(op))).toEqual([]);
  });
});

describe('lengths of which nothing is known', () => {
  /** A value of unknown length on its first axis. */
  const unknown = () => {
    const graph = new Graph();
    const b = new Builder(graph);
    return {
      graph,
      b,
      x: graph.addInput('x', 'float32', ['?', 6]),
      y: graph.addInput('y', 'float32', ['?', 6]),
    };
  };

  it('are carried along by what copies them, and divide by nothing', () => {
    const { b, x } = unknown();
    expect(b.op('Reshape', [x, b.ints([0, 2, -1])]).shape).toEqual(['?', 2, 3]);
    const flat = b.op('Reshape', [x, b.ints([-1])]);
    expect(flat.shape).toEqual(['6*?']);
    const [length] = b.op('Reshape', [b.op('Expand', [flat, b.ints([1])]), b.ints([-1, 6])]).shape!;
    expect(typeof length).toBe('string');
  });

  it('a rule for a version older than the schema leaves shapes open', () => {
    const graph = new Graph();
    graph.opsets.set('', 4);
    const x = graph.addInput('x', 'float32', [6]);
    const node = graph.addNode({ opType: 'Reshape', inputs: [x], attributes: { shape: [2, 3] } });
    inferNode(node);
    expect(node.output().shape).toBeUndefined();
  });

  it('arguments computed at run time leave shapes open', () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const [x, axes] = [graph.addInput('x', 'float32', [2, 3]), graph.addInput('axes', 'int64', [1])];
    expect(b.op('ReduceSum', [x, axes]).shape).toBeUndefined();
    expect(b.op('Unsqueeze', [x, axes]).shape).toBeUndefined();
    expect(b.op('Slice', [x, axes, Tensor.int64([1])]).shape).toBeUndefined();
  });
});
