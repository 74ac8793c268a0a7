import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { type Dim, Graph, type Value } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce, type Tensors } from '../runtime/session.ts';
import { importGraph, isForeign } from './import-graph.ts';

const numbers = (shape: readonly number[], seed = 1) =>
  Tensor.float32(
    shape,
    Float32Array.from(
      { length: elementCount(shape) },
      (_, i) => (Math.sin((i + 1) * 12.9898 * seed) * 43758.5453) % 1,
    ),
  );

interface Case {
  opset?: number;
  input: Dim[];
  build(b: Builder, x: Value, graph: Graph): Value;
}

/** Imports a graph, which must compute what it did; its ops come back. */
async function imported({ opset = 17, input, build }: Case) {
  const source = new Graph('foreign');
  source.opsets.set('', opset);
  const x = source.addInput('x', 'float32', input);
  source.outputs.push(build(new Builder(source), x, source));
  expect(isForeign(source)).toBe(true);
  const { graph } = source.clone();
  const notes = importGraph(graph);
  expect(checkGraph(graph)).toEqual([]);
  expect(graph.outputs.map(({ name }) => name)).toEqual(source.outputs.map(({ name }) => name));
  const feeds: Tensors = { x: numbers(input.map((dim) => (typeof dim === 'number' ? dim : 3))) };
  const [before, after] = await Promise.all(
    [source, graph].map((g) => runOnce(onnxruntime, g, feeds, { optimization: 'disabled' })),
  );
  for (const [name, tensor] of Object.entries(before!)) {
    expect(after![name]!.shape).toEqual(tensor.shape);
    tensor.floats.forEach((value, i) => {
      expect(Math.abs(after![name]!.floats[i]! - value)).toBeLessThanOrEqual(1e-5 * (1 + Math.abs(value)));
    });
  }
  return { graph, notes, ops: graph.nodes.map((node) => node.op) };
}

const int = (b: Builder, value: number) => b.constant(Tensor.scalar(value, 'int64'));
/** Axis `i` of the shape of x, as a vector of one. */
const lengthOf = (b: Builder, x: Value, i: number) =>
  b.op('Unsqueeze', [b.op('Gather', [b.op('Shape', [x]), int(b, i)], { axis: 0 }), b.ints([0])]);

describe('shape arithmetic', () => {
  it('becomes constants, the batch 0 or -1', async () => {
    const { graph, ops } = await imported({
      input: ['images', 6, 4],
      build(b, x) {
        const target = b.op('Concat', [lengthOf(b, x, 0), lengthOf(b, x, 1), b.ints([2, 2])], { axis: 0 });
        const heads = b.op('Transpose', [b.op('Reshape', [x, target])], { perm: [0, 2, 1, 3] });
        const windows = b.op('Mul', [lengthOf(b, x, 0), b.ints([2])]);
        return b.op('Reshape', [heads, b.op('Concat', [windows, b.ints([3, 4])], { axis: 0 })]);
      },
    });
    expect(ops).toEqual(['Reshape', 'Transpose', 'Reshape']);
    expect(graph.nodes.map((node) => node.inputs[1]?.tensor?.integers)).toEqual([
      [0, 6, 2, 2],
      undefined,
      [-1, 3, 4],
    ]);
    expect(graph.outputs[0]!.shape).toEqual(['2*N', 3, 4]);
  });

  it('decides what Where, Equal and ConstantOfShape say of an Expand', async () => {
    const { graph, ops } = await imported({
      input: ['b', 3, 4],
      build(b, x, graph) {
        const token = graph.addConstant('cls_token', numbers([1, 1, 4], 3));
        const wanted = b.op('Concat', [lengthOf(b, x, 0), b.ints([-1, -1])], { axis: 0 });
        const ones = b.op('ConstantOfShape', [b.op('Shape', [wanted])], {
          value: { kind: 'tensor', value: Tensor.int64([1]) },
        });
        const open = b.op('Equal', [wanted, b.op('Mul', [ones, int(b, -1)])]);
        const tokens = b.op('Expand', [token, b.op('Where', [open, ones, wanted])]);
        return b.op('Concat', [tokens, x], { axis: 1 });
      },
    });
    expect(ops.toSorted()).toEqual(['Add', 'Pad', 'Pad']);
    expect(graph.outputs[0]!.shape).toEqual(['N', 4, 4]);
    expect(graph.constants.has('cls_token')).toBe(true);
  });

  it('keeps what it can not decide, with an unknown length', async () => {
    const { graph } = await imported({
      input: ['b', 3, 4],
      build(b, x) {
        const more = b.op('Add', [lengthOf(b, x, 0), b.ints([1])]);
        const target = b.op('Concat', [more, b.ints([1])], { axis: 0 });
        return b.op('Expand', [b.op('ReduceMean', [x], { axes: [0, 1, 2], keepdims: 0 }), target]);
      },
    });
    expect(graph.outputs[0]!.shape).toEqual(['?', 1]);
  });

  it('leaves a scalar that was trained to the model', async () => {
    const { graph } = await imported({
      input: ['b', 3],
      build: (b, x, graph) =>
        b.op('Mul', [x, b.op('Exp', [graph.addConstant('logit_scale', Tensor.scalar(0.5))])]),
    });
    expect(graph.constants.has('logit_scale')).toBe(true);
  });
});

describe('the form of a file', () => {
  it('has its constants as constants, in our operator set', async () => {
    const { graph, ops } = await imported({
      opset: 11,
      input: ['b', 3, 4],
      build: (b, x) =>
        b.op(
          'Softmax',
          [b.op('ReduceMean', [b.op('Unsqueeze', [b.op('Identity', [x])], { axes: [1] })], { axes: [-1] })],
          { axis: 3 },
        ),
    });
    expect(graph.opsets.get('')).toBe(20);
    expect(ops).toEqual(['Unsqueeze', 'ReduceMean', 'Softmax']);
  });

  it('has the branch of an If that is taken', async () => {
    const { ops } = await imported({
      input: ['b', 1, 4],
      build(b, x, graph) {
        const condition = b.op('Equal', [b.op('Gather', [b.op('Shape', [x]), int(b, 1)]), int(b, 1)]);
        const branch = (name: string, op: string) => {
          const inner = new Graph(name, graph);
          const value = new Builder(inner).op(op, [x], {}, `${name}_result`);
          inner.outputs.push(value);
          return { kind: 'graph' as const, value: inner };
        };
        const chosen = b.op('If', [condition], {
          then_branch: branch('then', 'Neg'),
          else_branch: branch('else', 'Abs'),
        });
        [chosen.dtype, chosen.shape] = ['float32', ['b', 1, 4]];
        return b.op('Mul', [chosen, b.scalar(2)]);
      },
    });
    expect(ops).toEqual(['Neg', 'Mul']);
  });

  it('has no Dropout, and no statistics of training', async () => {
    const { ops, notes } = await imported({
      input: ['b', 2, 3, 3],
      build(b, x, graph) {
        const vector = (name: string, seed: number) =>
          graph.addConstant(name, Tensor.float32([2], [seed, 1 + seed]));
        const norm = b.node('BatchNormalization', [
          x,
          vector('w', 1),
          vector('b', 2),
          vector('m', 0),
          vector('v', 1),
        ]);
        return b.op('Dropout', [norm.output(), b.scalar(0)]);
      },
    });
    expect(ops).toEqual(['BatchNormalization', 'Identity'].slice(0, ops.length));
    expect(notes).toEqual([]);
  });
});

describe('what our builders write', () => {
  const weight = (graph: Graph, name: string, ...shape: number[]) =>
    graph.addConstant(name, numbers(shape, shape[0]));

  it('is a Linear of a MatMul with a weight [in, out] and a bias in front, and of a Gemm', async () => {
    const { graph, ops } = await imported({
      input: ['b', 4],
      build(b, x, graph) {
        const [w, c] = [weight(graph, 'onnx::MatMul_7', 4, 5), weight(graph, 'encoder.fc.bias', 5)];
        const hidden = b.op('Add', [c, b.op('MatMul', [x, w])]);
        return b.op('Gemm', [hidden, weight(graph, 'top.weight', 3, 5), weight(graph, 'top.bias', 3)], {
          transB: 1,
        });
      },
    });
    expect(ops).toEqual(['Transpose', 'MatMul', 'Add', 'Transpose', 'MatMul', 'Add']);
    expect(parameters(graph).map(({ name, shape }) => `${name} [${shape}]`)).toEqual([
      'encoder.fc.weight [5,4]',
      'encoder.fc.bias [5]',
      'top.weight [3,5]',
      'top.bias [3]',
    ]);
  });

  it('is LayerNormalization of its parts', async () => {
    const { graph, ops } = await imported({
      opset: 11,
      input: ['b', 3, 8],
      build(b, x, graph) {
        const mean = b.op('ReduceMean', [x], { axes: [-1] });
        const d = b.op('Sub', [x, mean]);
        const spread = b.op('ReduceMean', [b.op('Pow', [d, b.scalar(2)])], { axes: [-1] });
        const normed = b.op('Div', [d, b.op('Sqrt', [b.op('Add', [spread, b.scalar(1e-6)])])]);
        return b.op('Add', [
          b.op('Mul', [normed, weight(graph, 'norm.weight', 8)]),
          weight(graph, 'norm.bias', 8),
        ]);
      },
    });
    expect(ops).toEqual(['LayerNormalization']);
    expect(graph.nodes[0]!.inputs.map((value) => value!.name)).toEqual(['x', 'norm.weight', 'norm.bias']);
  });

  it('is Gelu of erf and of tanh, and HardSwish', async () => {
    const erf = (b: Builder, x: Value) => {
      const inner = b.op('Add', [b.op('Erf', [b.op('Div', [x, b.scalar(Math.SQRT2)])]), b.scalar(1)]);
      return b.op('Mul', [x, b.op('Mul', [b.scalar(0.5), inner])]);
    };
    const tanh = (b: Builder, x: Value) => {
      const cube = b.op('Mul', [b.op('Pow', [x, b.scalar(3)]), b.scalar(0.044715)]);
      const inner = b.op('Tanh', [b.op('Mul', [b.op('Add', [x, cube]), b.scalar(Math.sqrt(2 / Math.PI))])]);
      return b.op('Mul', [b.op('Mul', [x, b.scalar(0.5)]), b.op('Add', [inner, b.scalar(1)])]);
    };
    const hard = (b: Builder, x: Value) => {
      const gate = b.op('Clip', [b.op('Add', [x, b.scalar(3)]), b.scalar(0), b.scalar(6)]);
      return b.op('Div', [b.op('Mul', [x, gate]), b.scalar(6)]);
    };
    const { ops } = await imported({ input: ['b', 5], build: (b, x) => hard(b, tanh(b, erf(b, x))) });
    expect(ops).toEqual(['Gelu', 'Gelu', 'HardSwish']);
  });

  it.each([
    ['all in their order', [0, 1, 2, 3, 4, 5], 'Reshape'],
    ['some', [4, 0, 2], 'Gather'],
  ])('takes of each image what is gathered from all of them in a row: %s', async (_, offsets, last) => {
    const { graph, ops } = await imported({
      input: ['b', 6],
      build(b, x) {
        const images = b.op('Squeeze', [lengthOf(b, x, 0), b.ints([0])]);
        const numbers = b.op('Range', [int(b, 0), images, int(b, 1)]);
        const starts = b.op('Unsqueeze', [b.op('Mul', [numbers, int(b, 6)]), b.ints([1, 2])]);
        const places = b.op('Add', [starts, Tensor.int64(offsets, [1, offsets.length, 1])]);
        const all = b.op('Reshape', [b.op('Neg', [x]), b.ints([-1])]);
        return b.op('Neg', [b.op('Gather', [all, places], { axis: 0 })]);
      },
    });
    expect(ops.includes('Range')).toBe(false);
    expect(ops).toContain(last);
    expect(graph.outputs[0]!.shape!.slice(1)).toEqual([offsets.length, 1]);
  });

  it('is one Split of what takes a value apart, and queries that bear the whole scale', async () => {
    const { ops, graph } = await imported({
      opset: 20,
      input: ['b', 3, 2, 6, 4],
      build(b, x) {
        const packed = b.op('Transpose', [x], { perm: [1, 0, 2, 3, 4] });
        const [q, k, v] = [0, 1, 2].map((i) => b.op('Gather', [packed, int(b, i)], { axis: 0 })) as [
          Value,
          Value,
          Value,
        ];
        const root = b.scalar(0.5);
        const turned = b.op('Transpose', [k], { perm: [0, 1, 3, 2] });
        const scores = b.op('MatMul', [b.op('Mul', [q, root]), b.op('Mul', [turned, root])]);
        return b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), v]);
      },
    });
    expect(ops.filter((op) => op !== 'Squeeze')).toEqual([
      'Transpose',
      'Split',
      'Transpose',
      'Mul',
      'MatMul',
      'Softmax',
      'MatMul',
    ]);
    const scale = graph.nodes.find((node) => node.op === 'Mul')!;
    expect(scale.input(1).tensor!.floats[0]).toBe(0.25);
  });

  it('takes apart what ONNX Runtime fused', async () => {
    const { ops } = await imported({
      opset: 20,
      input: ['b', 3, 4],
      build(b, x, graph) {
        const act = b.op('com.microsoft.BiasGelu', [x, weight(graph, 'fc.bias', 4)]);
        const product = b.op('com.microsoft.FusedMatMul', [act, x], {
          transB: 1,
          alpha: { kind: 'float', value: 0.5 },
        });
        product.shape = ['b', 3, 3];
        return b.op('com.microsoft.QuickGelu', [product]);
      },
    });
    expect(ops.some((op) => op.startsWith('com.microsoft'))).toBe(false);
  });

  it.each([
    { transA: 0, transB: 1 },
    { transA: 1, transB: 0 },
  ])('takes apart a product with the first axes of its operands before the last, %j', async (turned) => {
    const { ops, graph } = await imported({
      opset: 20,
      input: [5, 3, 4],
      build: (b, x) =>
        b.op('com.microsoft.FusedMatMul', [x, x], { ...turned, transBatchA: 1, transBatchB: 1 }),
    });
    expect(ops).toContain('MatMul');
    expect(ops.some((op) => op.startsWith('com.microsoft'))).toBe(false);
    expect(graph.outputs[0]!.shape!.slice(-2)).toEqual(turned.transB ? [5, 5] : [4, 4]);
  });

  it.each([
    ['...ij,kj->...ik', ['b', 3, 4], [5, 4]],
    ['bij,jk->bik', ['b', 3, 4], [4, 5]],
    ['bij,jk->bki', ['b', 3, 4], [4, 5]],
    ['bji,jk->bik', ['b', 3, 4], [3, 5]],
    ['bnk,khd->bnhd', ['b', 3, 8], [8, 2, 4]],
    ['bnk,khd->bhnd', ['b', 3, 8], [8, 2, 4]],
    ['bnhd,hdk->bnk', ['b', 3, 2, 4], [2, 4, 5]],
  ] as const)('is a Linear of an Einsum %s', async (equation, input, shape) => {
    const { ops, graph } = await imported({
      input: [...input],
      build: (b, x, graph) => b.op('Einsum', [x, weight(graph, 'fc.weight', ...shape)], { equation }),
    });
    expect(ops).toContain('MatMul');
    expect(ops).not.toContain('Einsum');
    const layer = graph.nodes.find(({ op }) => op === 'MatMul')!;
    expect(layer.input(1).producer!.input(0).tensor!.shape).toHaveLength(2);
  });

  it.each(['bhid,bhjd->bhij', 'bihd,bjhd->bhij', '...id,...jd->...ij', 'bhij,bhjd->bihd'])(
    'is a product of heads of an Einsum %s',
    async (equation) => {
      const { ops } = await imported({
        input: ['b', 3, 3, 3],
        build: (b, x) => b.op('Einsum', [x, b.op('Tanh', [x])], { equation }),
      });
      expect(ops.filter((op) => op !== 'Transpose')).toEqual(['Tanh', 'MatMul']);
    },
  );

  it.each(['bij,jk->bk', 'bii,jk->bijk', 'bij,bij->bij'])(
    'leaves an Einsum %s as it is',
    async (equation) => {
      const { ops } = await imported({
        input: ['b', 4, 4],
        build: (b, x, graph) => {
          const other = equation.endsWith('->bij') ? b.op('Tanh', [x]) : weight(graph, 'other', 4, 5);
          return b.op('Einsum', [x, other], { equation });
        },
      });
      expect(ops).toContain('Einsum');
    },
  );

  it.each([false, true])(
    'takes an Attention apart whose mask says which scores count (some hidden: %s)',
    async (hides) => {
      const { ops } = await imported({
        opset: 23,
        input: ['b', 2, 3, 4],
        build(b, x) {
          const flags = new Tensor(
            'bool',
            [1, 1, 3, 3],
            Uint8Array.from({ length: 9 }, (_, i) => Number(!hides || i % 4 > 0)),
          );
          const batch = lengthOf(b, x, 0);
          const shape = b.op('Concat', [batch, b.ints([1, 3, 3])], { axis: 0 });
          return b.op('Attention', [x, x, x, b.op('Expand', [flags, shape])], {
            scale: { kind: 'float', value: 0.5 },
          });
        },
      });
      expect(ops.includes('Attention')).toBe(false);
      expect(ops.includes('Where')).toBe(hides);
    },
  );

  it('knows the lengths behind what ONNX Runtime fused', async () => {
    const { graph, ops } = await imported({
      input: ['b', 2, 4, 4],
      build(b, x, graph) {
        const conv = b.node('com.microsoft.FusedConv', [x, weight(graph, 'conv.weight', 3, 2, 2, 2)], {
          activation: 'Relu',
        });
        const made = conv.output();
        const images = b.op('Gather', [b.op('Shape', [made]), b.ints([0])], { axis: 0 });
        return b.op('Reshape', [made, b.op('Concat', [images, b.ints([-1])], { axis: 0 })]);
      },
    });
    expect(ops.filter((op) => op !== 'Reshape')).toEqual(['Conv', 'Relu']);
    expect(graph.outputs[0]!.shape).toEqual(['N', 27]);
  });

  it('is computed in float32 where a file has float16, saying so', () => {
    const source = new Graph('foreign');
    source.opsets.set('', 17);
    const x = source.addInput('x', 'float16', ['b', 2]);
    const b = new Builder(source);
    const halves = new Tensor('float16', [2], Uint16Array.of(0x3c00, 0xc100));
    const sum = b.op('Add', [x, source.addConstant('bias', halves)]);
    const wide = b.op('Cast', [sum], { to: 1 });
    source.outputs.push(b.op('Cast', [b.op('Exp', [wide])], { to: 10 }));
    const notes = importGraph(source);
    expect(notes.join()).toContain('it computes in float16, and is taken in float32');
    expect(source.nodes.map(({ op }) => op)).toEqual(['Add', 'Exp']);
    expect([source.inputs[0]!.dtype, source.outputs[0]!.dtype]).toEqual(['float32', 'float32']);
    expect([...source.constants.values()].map(({ tensor }) => [...tensor!.floats])).toEqual([[1, -2.5]]);
    expect(checkGraph(source)).toEqual([]);
  });

  it('gives each layer its own vector, where an exporter wrote equal ones once, and keeps tied matrices', async () => {
    const { graph } = await imported({
      input: ['b', 4],
      build(b, x, graph) {
        const [w, c] = [
          weight(graph, 'tied.weight', 4, 4),
          graph.addConstant('zeros', Tensor.zeros('float32', [4])),
        ];
        const layer = (value: Value, module: string) => {
          const product = graph.addNode({ opType: 'MatMul', name: `/${module}/MatMul`, inputs: [value, w] });
          const add = graph.addNode({ opType: 'Add', name: `/${module}/Add`, inputs: [product.output(), c] });
          return add.output();
        };
        const result = layer(b.op('Neg', [layer(x, 'first')]), 'second');
        return b.op('Neg', [result]);
      },
    });
    expect(parameters(graph).map(({ name }) => name)).toEqual(['tied.weight', 'first.bias', 'second.bias']);
  });

  it('gives each reader its own zeros or ones, whatever reads them', async () => {
    const { graph } = await imported({
      input: ['N', 4],
      build(b, x, graph) {
        const zeros = graph.addConstant('onnx::Add_7', Tensor.float32([4], [0, 0, 0, 0]));
        const some = graph.addConstant('onnx::Add_8', numbers([4], 3));
        const layer = (y: Value) => b.op('Tanh', [b.op('Sub', [b.op('Add', [y, some]), zeros])]);
        return layer(layer(layer(x)));
      },
    });
    const read = (op: string) => graph.nodes.filter((node) => node.op === op).map((node) => node.input(1));
    expect(new Set(read('Sub')).size).toBe(3);
    expect(new Set(read('Add')).size).toBe(1);
  });

  it('takes any batch, where a file was written for one', async () => {
    const source = new Graph('foreign');
    source.opsets.set('', 17);
    const b = new Builder(source);
    const x = source.addInput('x', 'float32', [2, 6, 4]);
    const token = source.addConstant('cls_token', numbers([1, 1, 4], 3));
    const joined = b.op('Concat', [b.op('Expand', [token, b.ints([2, 1, 4])]), x], { axis: 1 });
    const heads = b.op('Transpose', [b.op('Reshape', [joined, b.ints([2, 7, 2, 2])])], {
      perm: [0, 2, 1, 3],
    });
    source.outputs.push(b.op('Reshape', [heads, b.ints([4, 7, 2])]));
    expect(importGraph(source)).toEqual([]);
    expect(source.outputs[0]!.shape).toEqual(['2*N', 7, 2]);
    const { [source.outputs[0]!.name]: result } = await runOnce(onnxruntime, source, {
      x: numbers([5, 6, 4]),
    });
    expect(result!.shape).toEqual([10, 7, 2]);
  });

  it('keeps the batch that something holds on to, and says so', () => {
    const source = new Graph('foreign');
    const x = source.addInput('x', 'float32', [2, 3]);
    source.outputs.push(
      new Builder(source).op('Add', [x, source.addConstant('of.each.image', numbers([2, 3]))]),
    );
    expect(importGraph(source).join()).toMatch(/^the batch stays 2, as the file has it/);
    expect(source.inputs[0]!.shape).toEqual([2, 3]);
  });
});
