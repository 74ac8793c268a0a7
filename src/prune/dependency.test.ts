import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { countMacs } from '../graph/cost.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { Tensor } from '../graph/tensor.ts';
import { importGraph } from '../import/import-graph.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { applyPlan } from './apply.ts';
import { findDependencies } from './dependency.ts';
import { dependencyRules } from './dependency-rules/rules.ts';
import { findGroups } from './groups.ts';
import { plannedMacs } from './mac-target.ts';
import { planPruning } from './plan.ts';

const random = new Random(11);
const noise = (...shape: number[]) =>
  Tensor.float32(
    shape,
    Array.from({ length: shape.reduce((p, d) => p * d, 1) }, () => 0.5 * random.normal()),
  );

/** A small graph between a first and a last layer whose outer channels are pinned by input and output. */
class Net {
  readonly graph = new Graph('net');
  readonly b = new Builder(this.graph);

  input(...shape: (number | string)[]): Value {
    return this.graph.addInput('x', 'float32', shape);
  }

  parameter(name: string, ...shape: number[]): Value {
    return this.graph.addConstant(name, noise(...shape));
  }

  linear(name: string, x: Value, inputs: number, outputs: number): Value {
    const weight = this.b.op('Transpose', [this.parameter(`${name}.weight`, outputs, inputs)], {
      perm: [1, 0],
    });
    return this.b.op('Add', [this.b.op('MatMul', [x, weight]), this.parameter(`${name}.bias`, outputs)]);
  }

  conv(name: string, x: Value, inputs: number, outputs: number, attributes = {}, size = 3): Value {
    const inputsOf = [
      x,
      this.parameter(`${name}.weight`, outputs, inputs, size, size),
      this.parameter(`${name}.bias`, outputs),
    ];
    return this.b.op('Conv', inputsOf, { pads: [1, 1, 1, 1], ...attributes });
  }

  /** Ends the graph in a classifier over the last axis. */
  head(x: Value, inputs: number): Graph {
    this.graph.outputs.push(this.linear('head', x, inputs, 3));
    return this.graph;
  }
}

const groupsOf = (graph: Graph) =>
  findGroups(graph, { headDims: 'tied' }).groups.map(({ kind, name, size }) => `${kind} ${name} ${size}`);

/** Prunes half of every group and compares with zeroing the same slices. */
async function expectExact(graph: Graph, ratio = 0.5): Promise<Graph> {
  const grouping = findGroups(graph, { headDims: 'free' });
  const scores = grouping.groups.map(({ size }) =>
    Float64Array.from({ length: size }, () => random.uniform()),
  );
  const plan = planPruning(grouping.groups, scores, { ratio });
  expect(plan.size).toBe(grouping.groups.filter(({ kind }) => kind !== 'heads').length);
  const pruned = applyPlan(graph, plan).graph;
  expect(checkGraph(pruned)).toEqual([]);
  expect(plannedMacs(graph, plan)).toBe(countMacs(pruned));
  const { graph: dense } = graph.clone();
  for (const [group, units] of plan) {
    for (const { parameter, axis, units: owners } of group.slices) {
      const value = dense.constants.get(parameter.name)!;
      const { shape } = value.tensor!;
      const inner = shape.slice(axis + 1).reduce((p, d) => p * d, 1);
      const data = value.tensor!.floats.map((x, e) =>
        units.includes(owners[Math.floor(e / inner) % shape[axis]!]!) ? 0 : x,
      );
      dense.setConstant(value, Tensor.float32(shape, data));
    }
  }
  const x = noise(...graph.inputs[0]!.shape!.map((dim) => (typeof dim === 'number' ? dim : 2)));
  const [slim] = Object.values(await runOnce(onnxruntime, pruned, { x }, { threads: 1 }));
  const [full] = Object.values(await runOnce(onnxruntime, dense, { x }, { threads: 1 }));
  const largest = Math.max(...full!.floats.map(Math.abs));
  expect(largest).toBeGreaterThan(1e-3);
  expect(Math.max(...slim!.floats.map((v, i) => Math.abs(v - full!.floats[i]!))) / largest).toBeLessThan(
    1e-4,
  );
  return pruned;
}

describe('dependencies through convolutions', () => {
  it('a depthwise convolution goes with its channels, its group count follows', async () => {
    const net = new Net();
    const first = net.b.op('Relu', [net.conv('stem', net.input('N', 3, 8, 8), 3, 8)]);
    const depthwise = net.conv('depthwise', first, 1, 8, { group: 8 });
    const pooled = net.b.op('Flatten', [net.b.op('GlobalAveragePool', [depthwise])]);
    const graph = net.head(pooled, 8);
    expect(groupsOf(graph)).toEqual(['channels stem 8']);
    const pruned = await expectExact(graph);
    const groups = pruned.nodes.flatMap((node) =>
      node.op === 'Conv' ? argumentsOf<'Conv'>(node).group : [],
    );
    expect(groups).toEqual([1, 4]);
  });

  it('a grouped convolution loses the same channels of each group', async () => {
    const net = new Net();
    const first = net.b.op('Relu', [net.conv('stem', net.input('N', 3, 8, 8), 3, 8)]);
    const grouped = net.conv('grouped', first, 4, 12, { group: 2 });
    const graph = net.head(net.b.op('Flatten', [net.b.op('GlobalAveragePool', [grouped])]), 12);
    expect(groupsOf(graph)).toEqual(['channels stem 4', 'channels grouped 6']);
    await expectExact(graph);
  });

  it('batch normalization and residual branches join their channels', async () => {
    const net = new Net();
    const first = net.conv('stem', net.input('N', 3, 8, 8), 3, 8);
    const statistics = ['scale', 'bias', 'mean'].map((name) => net.parameter(`norm.${name}`, 8));
    const variance = net.graph.addConstant('norm.variance', Tensor.float32([8], Array(8).fill(0.7)));
    const normed = net.b.op('BatchNormalization', [first, ...statistics, variance], { epsilon: float(1e-5) });
    // The mean of a removed channel is subtracted from nothing; what stays is compared.
    const branch = net.conv('branch', net.b.op('Relu', [normed]), 8, 8);
    const sum = net.b.op('Add', [first, branch]);
    const graph = net.head(net.b.op('Flatten', [net.b.op('GlobalAveragePool', [sum])]), 8);
    const [group] = findGroups(graph).groups;
    expect(group).toMatchObject({ name: 'stem', size: 8, residual: true });
    await expectExact(graph);
  });

  it('Flatten gives each channel its pixels', async () => {
    const net = new Net();
    const features = net.b.op('Relu', [net.conv('stem', net.input('N', 3, 4, 4), 3, 6)]);
    const graph = net.head(net.b.op('Flatten', [features]), 6 * 16);
    expect(groupsOf(graph)).toEqual(['channels stem 6']);
    const pruned = await expectExact(graph);
    expect(pruned.constants.get('head.weight')!.shape).toEqual([3, 48]);
  });

  it('a channel shuffle is followed through its boxes', async () => {
    const net = new Net();
    const features = net.b.op('Relu', [net.conv('stem', net.input('N', 3, 4, 4), 3, 8)]);
    const boxed = net.b.op('Reshape', [features, net.b.ints([0, 2, 4, 4, 4])]);
    const turned = net.b.op('Transpose', [boxed], { perm: [0, 2, 1, 3, 4] });
    const shuffled = net.b.op('Reshape', [turned, net.b.ints([0, 8, 4, 4])]);
    const graph = net.head(
      net.b.op('Flatten', [net.b.op('GlobalAveragePool', [net.conv('next', shuffled, 8, 5)])]),
      5,
    );
    expect(groupsOf(graph)).toEqual(['headDims stem 4', 'heads stem 2', 'channels next 5']);
    await expectExact(graph);
  });
});

describe('dependencies through movement', () => {
  it('Concat and Slice: a slice moves with what goes before it', async () => {
    const net = new Net();
    const x = net.input('N', 5, 4);
    const joined = net.b.op('Concat', [net.linear('a', x, 4, 6), net.linear('b', x, 4, 10)], { axis: -1 });
    const cut = net.b.op('Slice', [joined, net.b.ints([3]), net.b.ints([12]), net.b.ints([-1])]);
    await expectExact(net.head(cut, 9), 0.34);
  });

  it('Split of unequal parts, and a GLU of one projection', async () => {
    const net = new Net();
    const packed = net.linear('in', net.input('N', 5, 4), 4, 16);
    const parts = net.b.node('Split', [packed, net.b.ints([6, 4, 6])], { axis: -1 }, 3);
    const gated = net.b.op('Mul', [net.b.op('Sigmoid', [parts.output(0)]), parts.output(2)]);
    const joined = net.b.op('Concat', [gated, parts.output(1)], { axis: -1 });
    const graph = net.head(joined, 10);
    expect(groupsOf(graph)).toEqual(['channels in 10']);
    await expectExact(graph, 0.34);
  });

  it('patch merging: a channel goes from each of the four neighbours', async () => {
    const net = new Net();
    const features = net.conv('stem', net.input('N', 3, 4, 4), 3, 6);
    const last = net.b.op('Transpose', [features], { perm: [0, 2, 3, 1] });
    const cut = net.b.op('Reshape', [last, net.b.ints([0, 2, 2, 2, 2, 6])]);
    const near = net.b.op('Transpose', [cut], { perm: [0, 1, 3, 2, 4, 5] });
    const merged = net.b.op('Reshape', [near, net.b.ints([0, 4, 24])]);
    const graph = net.head(merged, 24);
    const [group] = findGroups(graph).groups;
    expect(group!.size).toBe(6);
    expect([
      ...group!.slices.find(({ parameter }) => parameter.name === 'head.weight')!.units.slice(0, 12),
    ]).toEqual([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
    await expectExact(graph);
  });

  it('Expand, Unsqueeze and Squeeze carry channels along', async () => {
    const net = new Net();
    const token = net.b.op('Expand', [net.parameter('token', 1, 1, 6), net.b.ints([1, 5, 6])]);
    const sum = net.b.op('Add', [net.linear('in', net.input('N', 5, 4), 4, 6), token]);
    const squeezed = net.b.op('Squeeze', [net.b.op('Unsqueeze', [sum, net.b.ints([1])]), net.b.ints([1])]);
    const graph = net.head(squeezed, 6);
    expect(findGroups(graph).groups[0]!.slices.map(({ parameter }) => parameter.name)).toContain('token');
    await expectExact(graph);
  });

  it('values lose dimensions under weights that a Linear says', async () => {
    const net = new Net();
    const x = net.input('N', 5, 4);
    const boxed = (name: string, outputs: number, shape: number[]) =>
      net.b.op('Reshape', [net.linear(name, x, 4, outputs), net.b.ints(shape)]);
    const weights = net.b.op('Softmax', [boxed('weights', 3 * 25, [0, 5, 3, 5, 5])], { axis: -1 });
    const values = net.b.op('Unsqueeze', [boxed('v', 12, [0, 5, 3, 4]), net.b.ints([1])]);
    const byHead = net.b.op('Transpose', [values], { perm: [0, 1, 3, 2, 4] });
    const mixed = net.b.op('ReduceSum', [net.b.op('MatMul', [weights, byHead]), net.b.ints([3])], {
      keepdims: 0,
    });
    const graph = net.head(net.b.op('Reshape', [mixed, net.b.ints([0, 5, 12])]), 12);
    expect(groupsOf(graph)).toEqual(['headDims v 4']);
    await expectExact(graph);
  });

  it('heads that join the batch lose the same dimensions, where a convolution sees each by itself', async () => {
    const net = new Net();
    const packed = net.linear('q', net.input('N', 16, 5), 5, 12);
    const boxed = net.b.op('Reshape', [packed, net.b.ints([0, 0, 3, 4])]);
    const heads = net.b.op('Transpose', [boxed], { perm: [0, 2, 1, 3] });
    const images = net.b.op('Reshape', [heads, net.b.ints([-1, 4, 4, 4])]);
    const first = net.b.op('Transpose', [images], { perm: [0, 3, 1, 2] });
    const seen = net.conv('pool', first, 1, 4, { group: 4 });
    const apart = net.b.op('Reshape', [seen, net.b.ints([-1, 3, 4, 16])]);
    const tokens = net.b.op('Transpose', [apart], { perm: [0, 3, 1, 2] });
    const graph = net.head(net.b.op('Reshape', [tokens, net.b.ints([0, 0, 12])]), 12);
    expect(groupsOf(graph)).toEqual(['headDims q 4']);
    const pruned = await expectExact(graph);
    expect(pruned.constants.get('q.weight')!.shape).toEqual([6, 5]);
    expect(pruned.constants.get('pool.weight')!.shape).toEqual([2, 1, 3, 3]);
  });

  it('rotary position embedding pairs dimensions half a head apart', async () => {
    const net = new Net();
    const x = net.input('N', 5, 12);
    const heads = (name: string) => {
      const boxed = net.b.op('Reshape', [net.linear(name, x, 12, 12), net.b.ints([0, 5, 3, 4])]);
      return net.b.op('Transpose', [boxed], { perm: [0, 2, 1, 3] });
    };
    const [cos, sin] = [net.graph.addConstant('cos', noise(5, 4)), net.graph.addConstant('sin', noise(5, 4))];
    const rotated = (value: Value) => {
      const half = net.b.node('Split', [value], { axis: -1, num_outputs: 2 }, 2);
      const turned = net.b.op('Concat', [net.b.op('Neg', [half.output(1)]), half.output(0)], { axis: -1 });
      return net.b.op('Add', [net.b.op('Mul', [value, cos]), net.b.op('Mul', [turned, sin])]);
    };
    const keys = net.b.op('Transpose', [rotated(heads('k'))], { perm: [0, 1, 3, 2] });
    const scores = net.b.op('Softmax', [net.b.op('MatMul', [rotated(heads('q')), keys])], { axis: -1 });
    const mixed = net.b.op('Transpose', [net.b.op('MatMul', [scores, heads('v')])], { perm: [0, 2, 1, 3] });
    const graph = net.head(net.b.op('Reshape', [mixed, net.b.ints([0, 5, 12])]), 12);
    const group = findGroups(graph).groups.find(({ kind }) => kind === 'headDims')!;
    const units = group.slices.find(({ parameter }) => parameter.name === 'q.weight')!.units;
    expect(units[1]).toBe(units[3]);
    await expectExact(graph);
  });
});

describe('what is pinned', () => {
  it('the axis of a Softmax', () => {
    const net = new Net();
    const graph = net.head(net.b.op('Softmax', [net.linear('in', net.input('N', 4), 4, 6)], { axis: -1 }), 6);
    expect(groupsOf(graph)).toEqual([]);
  });

  it('what an op without a rule reads, and the op is named', () => {
    const net = new Net();
    const hidden = net.linear('in', net.input('N', 4), 4, 6);
    const summed = net.b.op('CumSum', [hidden, Tensor.scalar(1, 'int64')]);
    const graph = net.head(net.linear('mid', summed, 6, 8), 8);
    expect('CumSum' in dependencyRules).toBe(false);
    expect(findDependencies(graph).unknownOps).toEqual(['CumSum']);
    expect(groupsOf(graph)).toEqual(['channels mid 8']);
  });

  it('channels that are looked up by computed indices', () => {
    const net = new Net();
    const hidden = net.linear('in', net.input(3, 4), 4, 6);
    const index = net.b.op('ArgMax', [net.graph.inputs[0]!], { axis: -1, keepdims: 0 });
    const graph = net.head(net.b.op('Gather', [hidden, index], { axis: 1 }), 3);
    expect(groupsOf(graph)).toEqual([]);
  });
});

it('layers that an exporter gave one bias of zeros are pruned apart once they are imported', () => {
  const net = new Net();
  const zeros = net.graph.addConstant('zeros', Tensor.float32([6], [0, 0, 0, 0, 0, 0]));
  let x = net.input('N', 6);
  for (let i = 0; i < 15; i++) {
    const weight = net.parameter(`onnx::MatMul_${i}`, 6, 6);
    x = net.b.op('Tanh', [net.b.op('Sub', [net.b.op('MatMul', [x, weight]), zeros])]);
  }
  const graph = net.head(x, 6);
  expect(findGroups(graph).groups.map(({ size }) => size)).toEqual([6]);
  importGraph(graph);
  expect(findGroups(graph).groups.map(({ size }) => size)).toEqual(Array(15).fill(6));
});
