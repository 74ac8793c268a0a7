import { expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { applyPlan } from './apply.ts';
import { checkPruned } from './check.ts';
import { findGroups } from './groups.ts';
import { planPruning } from './plan.ts';

const weight = (rows: number, columns: number) =>
  Tensor.float32(
    [rows, columns],
    Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(3 * i + 1)),
  );

/** Two layers with a norm between them. */
function network(opset = 20): { graph: Graph; b: Builder } {
  const graph = new Graph('network');
  graph.opsets.set('', opset);
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 6]);
  const hidden = b.op('MatMul', [x, graph.addConstant('first.weight', weight(6, 8))]);
  const ones = (name: string) => graph.addConstant(name, Tensor.float32([8], Array(8).fill(1)));
  const normed = b.op('LayerNormalization', [hidden, ones('norm.weight'), ones('norm.bias')]);
  graph.outputs.push(b.op('MatMul', [normed, graph.addConstant('head.weight', weight(8, 3))]) as never);
  return { graph, b };
}

function halved(graph: Graph) {
  const { groups } = findGroups(graph);
  const plan = planPruning(groups, [Float64Array.from({ length: 8 }, (_, i) => (5 * i) % 8)], { ratio: 0.5 });
  return { plan, pruned: applyPlan(graph, plan).graph };
}

it('statistics of a norm are of what stays', async () => {
  const { graph } = network();
  const { plan, pruned } = halved(graph);
  expect(pruned.constants.get('norm.weight')!.shape).toEqual([4]);
  const { relative, unchecked } = await checkPruned(onnxruntime, graph, plan, pruned);
  expect(unchecked).toEqual([]);
  expect(relative).toBeLessThan(1e-6);
});

it('finds channels that changed places', async () => {
  const { graph } = network();
  const { plan, pruned } = halved(graph);
  const last = pruned.constants.get('head.weight')!;
  const turned = last.tensor!.floats.slice();
  turned.copyWithin(3, 0, 3);
  turned.set(last.tensor!.floats.subarray(3, 6));
  pruned.setConstant(last, Tensor.float32(last.staticShape, turned));
  await expect(checkPruned(onnxruntime, graph, plan, pruned)).rejects.toThrow(
    /pruning went wrong: output MatMul_1 is .* from that of the model with what went masked/,
  );
});

it('says what it can not compare', async () => {
  const { graph, b } = network();
  graph.outputs.push(b.op('ArgMax', [graph.outputs[0]!], { axis: -1 }) as never);
  const { plan, pruned } = halved(graph);
  const { relative, unchecked } = await checkPruned(onnxruntime, graph, plan, pruned);
  expect(relative).toBeLessThan(1e-6);
  expect(unchecked).toEqual(['output ArgMax is int64']);
});

it('says that it could not look at all', async () => {
  const { graph } = network();
  graph.inputs[0]!.dtype = 'float64';
  const { plan, pruned } = halved(graph);
  expect(await checkPruned(onnxruntime, graph, plan, pruned)).toMatchObject({
    relative: null,
    unchecked: ['there are no numbers to try for its input x of type float64'],
  });
  const { graph: old } = network(8);
  const both = halved(old);
  expect(await checkPruned(onnxruntime, old, both.plan, both.pruned)).toMatchObject({
    relative: null,
    unchecked: ['masks need operator set 9, and the model is of an older one'],
  });
});
