import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { multiplyDims } from '../graph/dim.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { addCase, batch, concrete, inOpsets, type OpCase, sequence } from '../graph/op-cases/case.ts';
import { opCases } from '../graph/op-cases/cases.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce, type Tensors } from '../runtime/session.ts';
import { applyPlan } from './apply.ts';
import { dependencyRules } from './dependency-rules/rules.ts';
import { findGroups } from './groups.ts';
import { maskedGraph, maskedSince } from './masked.ts';
import { type Plan, planPruning } from './plan.ts';

/** So little that it counts as gone, and yet not zero, so that one may divide by it. */
const almostNothing = 1e-6;

const inputs = 3;

/** Ops that have their channels on axis 1, behind which space follows. */
const windowed = new Set(
  'Conv ConvTranspose MaxPool AveragePool GlobalMaxPool GlobalAveragePool BatchNormalization InstanceNormalization Resize Upsample'.split(
    ' ',
  ),
);

/**
 * An op between linear layers: each operand's elements are the outputs of one, the result's the inputs of
 * another. What the op does is all that decides which elements go together.
 */
function betweenLayers(one: OpCase, opset: number): { graph: Graph; feeds: Tensors } {
  const graph = new Graph(one.op);
  graph.opsets.set('', opset);
  const b = new Builder(graph);
  const random = sequence(5);
  const feeds: Tensors = {};
  const parameter = (name: string, shape: readonly number[], low: number, high: number) => {
    const numbers = Float32Array.from({ length: elementCount(shape) }, () => low + (high - low) * random());
    return graph.addConstant(name, Tensor.float32(shape, numbers));
  };
  const operands = one.operands.map((operand, i) => {
    if (operand === undefined || operand instanceof Tensor) return operand;
    const shape = operand.shape.map(concrete);
    if (operand.dtype !== 'float32') {
      feeds[`x${i}`] = Tensor.zeros(operand.dtype, shape);
      return graph.addInput(`x${i}`, operand.dtype, operand.shape);
    }
    if (operand.shape[0] !== 'N') return parameter(`w${i}`, shape, operand.low, operand.high);
    if (windowed.has(one.op) && shape.length > 2) {
      const input = graph.addInput(`x${i}`, 'float32', ['N', inputs, ...shape.slice(2)]);
      const size = batch * inputs * elementCount(shape.slice(2));
      feeds[input.name] = Tensor.float32(
        input.shape!.map(concrete),
        Float32Array.from({ length: size }, random),
      );
      const channels = shape[1]!;
      const weight = parameter(`in${i}`, [channels, inputs, ...shape.slice(2).map(() => 1)], 0.5, 1.5);
      return b.op('Conv', [input, weight]);
    }
    const width = elementCount(shape) / batch;
    const input = graph.addInput(`x${i}`, 'float32', ['N', inputs]);
    feeds[input.name] = Tensor.float32(
      [batch, inputs],
      Float32Array.from({ length: batch * inputs }, () => 1 + random()),
    );
    const weight = parameter(`in${i}`, [inputs, width], operand.low / 6, operand.high / 6);
    return b.op('Reshape', [b.op('MatMul', [input, weight]), b.ints([-1, ...shape.slice(1)])]);
  });
  const { outputs } = addCase(b, one, operands);
  const found = one.op === 'BatchNormalization' ? outputs.slice(0, 1) : outputs; // the rest is no batch's
  const made = found.filter((value) => value?.dtype === 'float32') as Value[];
  made.forEach((value, i) => {
    const width = multiplyDims(value.shape!.slice(1));
    if (typeof width !== 'number') return;
    const flat = b.op('Reshape', [value, b.ints([-1, width])]);
    graph.outputs.push(b.op('MatMul', [flat, parameter(`out${i}`, [width, 2], 0.5, 1.5)]));
  });
  return { graph, feeds };
}

/** The graph with what a plan removes almost zero where it is made and zero where it is read. */
function zeroed(graph: Graph, plan: Plan): Graph {
  const { graph: dense, values } = graph.clone();
  for (const [group, units] of plan) {
    for (const { parameter, axis, units: owners } of group.slices) {
      const value = values.get(parameter)!;
      const { shape } = value.tensor!;
      const inner = elementCount(shape.slice(axis + 1));
      const nothing = value.name.startsWith('out') ? 0 : almostNothing;
      const data = value.tensor!.floats.map((x, e) =>
        units.includes(owners[Math.floor(e / inner) % shape[axis]!]!) ? nothing : x,
      );
      dense.setConstant(value, Tensor.float32(shape, data));
    }
  }
  return dense;
}

/** A plan that halves all that can go. */
function halves(graph: Graph): Plan {
  const { groups } = findGroups(graph, { headDims: 'free' });
  const random = sequence(9);
  const scores = groups.map(({ size }) => Float64Array.from({ length: size }, random));
  return groups.length ? planPruning(groups, scores, { ratio: 0.5, heads: 0.5 }) : new Map();
}

/** An average of fewer is another, and so is what is normalized by it; a zero can be the least of all: these are masked. */
const countZeros = new Set(
  'LayerNormalization RMSNormalization SimplifiedLayerNormalization ReduceMean ReduceMax ReduceMin'.split(
    ' ',
  ),
);

function expectEqual(slim: Tensors, full: Tensors): void {
  for (const [name, { floats }] of Object.entries(full)) {
    const largest = Math.max(...floats.map(Math.abs), 1e-3);
    const errors = slim[name]!.floats.map((v, i) => Math.abs(v - floats[i]!) / largest);
    expect(Math.max(...errors)).toBeLessThan(1e-4);
  }
}

const cases = inOpsets(
  opCases.filter(
    ({ op, operands }) =>
      dependencyRules[op] &&
      operands.some((o) => o && !(o instanceof Tensor) && o.dtype === 'float32' && o.shape[0] === 'N'),
  ),
);
const tried = new Set<string>();
const prunable = new Set<string>();

describe('pruning around an op is leaving out what was zeroed', () => {
  it.each(cases)('$op in operator set $opset: $one.operands $one.args', async ({ op, one, opset }) => {
    const { graph, feeds } = betweenLayers(one, opset);
    if (graph.outputs.length === 0) return;
    tried.add(op);
    const plan = halves(graph);
    if (plan.size === 0) return;
    prunable.add(op);
    const pruned = applyPlan(graph, plan).graph;
    expect(checkGraph(pruned)).toEqual([]);
    const slim = await runOnce(onnxruntime, pruned, feeds, { threads: 1 });
    const whole = [
      ...(countZeros.has(op) ? [] : [zeroed]),
      ...((opset ?? maskedSince) < maskedSince ? [] : [maskedGraph]),
    ];
    for (const dense of whole) {
      const full = await runOnce(onnxruntime, dense(graph, plan), feeds, { threads: 1 });
      expectEqual(slim, full);
    }
  });

  it('something can go around every op but these, whose other operands have no channels', () => {
    expect([...tried].filter((op) => !prunable.has(op)).sort()).toEqual(['Pad', 'Where']);
  });
});
