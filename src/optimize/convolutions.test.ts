import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { eliminateIdentities } from '../graph/eliminate-identities.ts';
import { type Dim, Graph, type Value } from '../graph/graph.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import type { ModelArgs } from '../zoo/model-args.ts';
import { type ParameterSource, randomParameters } from '../zoo/parameter-source.ts';
import { buildArchitecture, completeArgs, findArchitecture } from '../zoo/registry.ts';
import { foldBatchNorm } from './fold-batch-norm.ts';
import { foldConstants } from './fold-constants.ts';
import { mergeConvolutions } from './merge-convolutions.ts';
import { optimizeForOrt } from './optimize.ts';
import { optimizeForTorch } from './optimize-for-torch.ts';

/** Numbers about `centre`, others for each seed. */
function spread(shape: readonly number[], seed: number, centre = 0, width = 1): Tensor {
  const value = (i: number) => ((Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453) % 1) * width;
  return Tensor.float32(
    shape,
    Float32Array.from({ length: elementCount(shape) }, (_, i) => centre + value(i)),
  );
}

/** Writes layers with constants of their own. */
class Net {
  readonly graph = new Graph('net');
  readonly b = new Builder(this.graph);
  #seed = 0;

  input(...shape: Dim[]): Value {
    return this.graph.addInput('x', 'float32', shape);
  }

  constant(shape: readonly number[], centre = 0, name = 'c'): Value {
    return this.graph.addConstant(this.graph.uniqueName(name), spread(shape, ++this.#seed, centre, 0.4));
  }

  conv(x: Value, out: number, kernel: number | [number, number], attributes: ConvAttributes = {}): Value {
    const { bias = false, padding, ...rest } = attributes;
    const window = typeof kernel === 'number' ? [kernel, kernel] : kernel;
    const { group = 1 } = rest;
    const inputs = (x.shape![1] as number) / group;
    const weight = this.constant([out, inputs, ...window], 0, 'conv.weight');
    const pads = padding ?? window.map((length) => Math.floor(length / 2));
    return this.b.op('Conv', [x, weight, bias ? this.constant([out]) : undefined], {
      kernel_shape: window,
      pads: [...pads, ...pads],
      ...rest,
    });
  }

  norm(x: Value): Value {
    const shape = [x.shape![1] as number];
    const constants = [1, 0, 0, 1].map((centre) => this.constant(shape, centre));
    return this.b.op('BatchNormalization', [x, ...constants], { epsilon: float(1e-3) });
  }

  add(a: Value, b: Value): Value {
    return this.b.op('Add', [a, b]);
  }

  relu(x: Value): Value {
    return this.b.op('Relu', [x]);
  }
}

interface ConvAttributes {
  group?: number;
  strides?: number[];
  dilations?: number[];
  padding?: number[];
  bias?: boolean;
}

async function outputOf(graph: Graph, seed = 3): Promise<Tensor> {
  const [input] = graph.inputs;
  const shape = input!.shape!.map((dim) => (typeof dim === 'number' ? dim : 2));
  const outputs = await runOnce(
    onnxruntime,
    graph,
    { [input!.name]: spread(shape, seed, 0, 2) },
    { optimization: 'disabled' },
  );
  return outputs[graph.outputs[0]!.name]!;
}

function expectClose(got: Tensor, expected: Tensor): void {
  expect(got.shape).toEqual(expected.shape);
  const largest = expected.floats.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = got.floats.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - expected.floats[i]!)),
    0,
  );
  expect(largest).toBeGreaterThan(0);
  expect(worst / largest).toBeLessThan(1e-5);
}

/** Both passes on a copy; it must compute the same. Gives the ops that are left. */
async function rewritten(build: (net: Net) => Value): Promise<string[]> {
  const net = new Net();
  net.graph.outputs.push(build(net));
  const { graph } = net.graph.clone();
  const before = graph.nodes.length;
  const count = (await mergeConvolutions(onnxruntime, graph)) + (await foldBatchNorm(onnxruntime, graph));
  graph.removeDead();
  expect(checkGraph(graph)).toEqual([]);
  expect(graph.outputs[0]!.name).toBe(net.graph.outputs[0]!.name);
  expectClose(await outputOf(graph), await outputOf(net.graph));
  if (count === 0) expect(graph.nodes.length).toBe(before);
  return graph.nodes.map(({ op }) => op);
}

describe('mergeConvolutions', () => {
  const fires: Record<string, (net: Net) => Value> = {
    'a norm behind a convolution': (net) => net.norm(net.conv(net.input('N', 4, 7, 6), 6, 3)),
    'a norm behind one with a bias, a stride, groups and a dilation': (net) =>
      net.norm(
        net.conv(net.input('N', 4, 9, 8), 6, 3, { bias: true, strides: [2, 1], group: 2, dilations: [2, 1] }),
      ),
    'factors and summands of channels, and two norms': (net) => {
      const scaled = net.b.op('Mul', [net.constant([6, 1, 1]), net.conv(net.input('N', 4, 5, 5), 6, 3)]);
      return net.norm(net.norm(net.add(scaled, net.constant([1, 6, 1, 1]))));
    },
    "RepVGG's three branches": (net) => {
      const x = net.input('N', 4, 6, 6);
      const sum = net.add(net.norm(net.conv(x, 4, 3)), net.norm(net.conv(x, 4, 1)));
      return net.add(sum, net.norm(x));
    },
    'the same of single channels, and of groups': (net) => {
      const x = net.input('N', 4, 6, 6);
      const sum = net.add(
        net.norm(net.conv(x, 4, 5, { group: 4 })),
        net.conv(x, 4, 3, { group: 4, bias: true }),
      );
      return net.norm(net.add(net.norm(x), sum));
    },
    'identities of groups': (net) => {
      const x = net.input('N', 6, 6, 6);
      return net.add(x, net.norm(net.conv(x, 6, 3, { group: 2 })));
    },
    'strided branches with uneven lengths': (net) => {
      const x = net.input('N', 4, 7, 8);
      return net.add(net.conv(x, 6, 3, { strides: [2, 2] }), net.conv(x, 6, 1, { strides: [2, 2] }));
    },
    'a difference, scaled, beside the image itself': (net) => {
      const x = net.input('N', 4, 6, 6);
      const difference = net.b.op('Sub', [net.conv(x, 4, 3, { group: 4 }), net.norm(x)]);
      return net.add(x, net.b.op('Mul', [difference, net.constant([4, 1, 1])]));
    },
    'a difference whose bias is on the right': (net) => {
      const x = net.input('N', 4, 6, 6);
      return net.b.op('Sub', [net.conv(x, 4, 3), net.conv(x, 4, 3, { bias: true })]);
    },
  };
  it.each(Object.entries(fires))('%s: one convolution', async (_name, build) => {
    expect(await rewritten(build)).toEqual(['Conv']);
  });

  const rests: Record<string, { build(net: Net): Value; ops: string[] }> = {
    'where others read a part of the sum': {
      build(net) {
        const x = net.input('N', 4, 6, 6);
        const near = net.conv(x, 4, 3);
        return net.add(net.add(near, net.conv(x, 4, 1)), net.relu(near));
      },
      ops: ['Conv', 'Conv', 'Add', 'Relu', 'Add'],
    },
    'where groups differ': {
      build(net) {
        const x = net.input('N', 4, 6, 6);
        return net.add(net.conv(x, 4, 3), net.conv(x, 4, 3, { group: 2 }));
      },
      ops: ['Conv', 'Conv', 'Add'],
    },
    'of a row and a column': {
      build(net) {
        const x = net.input('N', 4, 6, 6);
        return net.add(net.conv(x, 4, [1, 3]), net.conv(x, 4, [3, 1]));
      },
      ops: ['Conv', 'Conv', 'Add'],
    },
    'of a dilated kernel and another': {
      build(net) {
        const x = net.input('N', 4, 6, 6);
        return net.add(net.conv(x, 4, 3, { dilations: [2, 2], padding: [2, 2] }), net.conv(x, 4, 3));
      },
      ops: ['Conv', 'Conv', 'Add'],
    },
    'of convolutions of two images': {
      build(net) {
        const x = net.input('N', 4, 6, 6);
        return net.add(net.conv(x, 4, 3), net.conv(net.relu(x), 4, 3));
      },
      ops: ['Conv', 'Relu', 'Conv', 'Add'],
    },
    'where a weight serves two layers': {
      build(net) {
        const x = net.input('N', 4, 6, 6);
        const weight = net.constant([4, 4, 1, 1]);
        const conv = (value: Value) => net.b.op('Conv', [value, weight], { kernel_shape: [1, 1] });
        return net.norm(conv(net.relu(conv(x))));
      },
      ops: ['Conv', 'Relu', 'Conv', 'BatchNormalization'],
    },
  };
  it.each(Object.entries(rests))('rests %s', async (_name, { build, ops }) => {
    expect(await rewritten(build)).toEqual(ops);
  });
});

describe('foldBatchNorm', () => {
  const linear = (net: Net, x: Value, out: number, bias: boolean) => {
    const product = net.b.op('MatMul', [x, net.constant([x.shape!.at(-1) as number, out], 0, 'fc.weight')]);
    return bias ? net.add(product, net.constant([out])) : product;
  };
  const fires: Record<string, { build(net: Net): Value; ops: string[] }> = {
    'behind a Linear': {
      build: (net) => net.norm(linear(net, net.input('N', 5), 6, true)),
      ops: ['MatMul', 'Add'],
    },
    'behind a Linear of tokens, without a bias': {
      build(net) {
        const rows = net.b.op('Reshape', [linear(net, net.input('N', 3, 5), 6, false), net.b.ints([-1, 6])]);
        return net.b.op('Reshape', [net.norm(rows), net.b.ints([-1, 3, 6])]);
      },
      ops: ['MatMul', 'Add', 'Reshape', 'Reshape'],
    },
    'before a Linear whose weight is transposed': {
      build(net) {
        const weight = net.b.op('Transpose', [net.constant([6, 5], 0, 'fc.weight')], { perm: [1, 0] });
        return net.b.op('MatMul', [net.norm(net.input('N', 5)), weight]);
      },
      ops: ['Transpose', 'MatMul', 'Add'],
    },
    'before a Linear with a bias': {
      build: (net) => linear(net, net.norm(net.relu(net.input('N', 5))), 6, true),
      ops: ['Relu', 'MatMul', 'Add'],
    },
    'before a convolution of groups without padding': {
      build(net) {
        const x = net.norm(net.relu(net.input('N', 4, 6, 6)));
        return net.conv(x, 6, 3, { group: 2, padding: [0, 0], strides: [2, 2], bias: true });
      },
      ops: ['Relu', 'Conv'],
    },
    'behind a transposed convolution': {
      build(net) {
        const weight = net.constant([4, 6, 2, 2]);
        const x = net.input('N', 4, 3, 3);
        return net.norm(net.b.op('ConvTranspose', [x, weight], { kernel_shape: [2, 2], strides: [2, 2] }));
      },
      ops: ['ConvTranspose'],
    },
    'not before padding': {
      build: (net) => net.conv(net.norm(net.relu(net.input('N', 4, 6, 6))), 4, 3),
      ops: ['Relu', 'BatchNormalization', 'Conv'],
    },
    'before two Linears with biases': {
      build(net) {
        const x = net.norm(net.input('N', 5));
        return net.add(linear(net, x, 6, true), linear(net, x, 6, true));
      },
      ops: ['MatMul', 'Add', 'MatMul', 'Add', 'Add'],
    },
    'before tokens of an image, and its mean': {
      build(net) {
        const x = net.norm(net.relu(net.input('N', 4, 3, 5)));
        const flat = net.b.op('Reshape', [x, net.b.ints([0, 0, -1])]);
        const tokens = linear(net, net.b.op('Transpose', [flat], { perm: [0, 2, 1] }), 6, false);
        const mean = net.b.op('ReduceMean', [x, net.b.ints([-1, 2])], { keepdims: 0 });
        return net.add(tokens, net.b.op('Unsqueeze', [linear(net, mean, 6, true), net.b.ints([1])]));
      },
      ops: 'Relu Reshape Transpose MatMul Add ReduceMean MatMul Add Unsqueeze Add'.split(' '),
    },
    'not before two Linears without biases': {
      build(net) {
        const x = net.norm(net.input('N', 5));
        return net.add(linear(net, x, 6, false), linear(net, x, 6, false));
      },
      ops: ['BatchNormalization', 'MatMul', 'MatMul', 'Add'],
    },
    'not before a Linear and another reader': {
      build(net) {
        const x = net.norm(net.input('N', 5));
        return net.add(linear(net, x, 5, true), net.relu(x));
      },
      ops: ['BatchNormalization', 'MatMul', 'Add', 'Relu', 'Add'],
    },
    'not before a Linear over places': {
      build: (net) => linear(net, net.norm(net.input('N', 4, 5)), 6, true),
      ops: ['BatchNormalization', 'MatMul', 'Add'],
    },
    'not before tokens that channels and places are in one axis of': {
      build(net) {
        const rows = net.b.op('Reshape', [net.norm(net.input('N', 4, 3)), net.b.ints([0, -1])]);
        return linear(net, rows, 6, true);
      },
      ops: ['BatchNormalization', 'Reshape', 'MatMul', 'Add'],
    },
    'not behind a Linear that others read': {
      build(net) {
        const x = linear(net, net.input('N', 5), 5, true);
        return net.add(net.norm(x), x);
      },
      ops: ['MatMul', 'Add', 'BatchNormalization', 'Add'],
    },
  };
  it.each(Object.entries(fires))('%s', async (_name, { build, ops }) => {
    expect(await rewritten(build)).toEqual(ops);
  });
});

interface ZooCase {
  name: string;
  args?: ModelArgs;
  input?: [number, number, number];
}

const casesOf = (family: string): ZooCase[] =>
  JSON.parse(readFileSync(new URL(`../../conformance/zoo/${family}.json`, import.meta.url), 'utf8'));

/** As timm starts, but with numbers where it has ones and zeros, the running statistics among them. */
const trained: ParameterSource = (name, shape, initializer, options) => {
  if (initializer.kind !== 'constant' || options?.dtype === 'int64') {
    return randomParameters(1)(name, shape, initializer, options);
  }
  const seed = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 9973, 7);
  return spread(shape, seed, name.endsWith('bias') || name.endsWith('mean') ? 0 : 1, 0.3);
};

function modelOf({ name, args, input }: ZooCase): Graph {
  const architecture = findArchitecture(name);
  const [channels = architecture.preprocessing.inputSize[0], ...size] = input ?? [];
  const sized = { img_size: size, in_chans: channels };
  const complete = completeArgs(architecture, args);
  return buildArchitecture(architecture, input ? { ...complete, ...sized } : complete, trained);
}

const normsOf = (graph: Graph) => graph.nodes.filter(({ op }) => op === 'BatchNormalization').length;

describe.each(['repvit', 'fastvit', 'levit', 'tiny_vit', 'swiftformer'])('models of %s', (family) => {
  it.each(casesOf(family))('$name $args compute what they did, with fewer nodes', async (one) => {
    const source = modelOf(one);
    const expected = await outputOf(source);
    const { graph } = source.clone();
    /** Normed features that are the output stay so. */
    const left = family === 'swiftformer' && one.args?.num_classes === 0 ? 1 : 0;
    await foldConstants(onnxruntime, graph);
    const [nodes, norms] = [graph.nodes.length, normsOf(graph)];
    expect(norms).toBeGreaterThan(5);
    await mergeConvolutions(onnxruntime, graph);
    await foldBatchNorm(onnxruntime, graph);
    eliminateIdentities(graph);
    graph.removeDead();
    expect(normsOf(graph)).toBe(left);
    expect(graph.nodes.length).toBeLessThanOrEqual(nodes - norms + left);
    for (const optimize of [optimizeForOrt, optimizeForTorch]) {
      const optimized = await optimize(onnxruntime, source);
      expect(checkGraph(optimized)).toEqual([]);
      expect(normsOf(optimized)).toBe(left);
      expectClose(await outputOf(optimized), expected);
    }
  });
});
