import { describe, expect, it } from 'vitest';
import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { eliminateIdentities } from '../graph/eliminate-identities.ts';
import { type Dim, Graph, type Value } from '../graph/graph.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce, type Tensors } from '../runtime/session.ts';
import { deduplicate } from './deduplicate.ts';
import { foldConstants } from './fold-constants.ts';
import { foldScales } from './fold-scales.ts';
import { fuseMatMul } from './fuse-matmul.ts';
import { layOutRows } from './lay-out-rows.ts';
import { packHeads } from './pack-heads.ts';

const random = (shape: readonly number[], seed = 1) =>
  Tensor.float32(
    shape,
    Float32Array.from(
      { length: elementCount(shape) },
      (_, i) => (Math.sin((i + 1) * 12.9898 * seed) * 43758.5453) % 1,
    ),
  );

interface Case {
  opset?: number;
  inputs: Record<string, Dim[]>;
  build(
    b: Builder,
    inputs: Record<string, Value>,
    constant: (shape: number[], name?: string) => Value,
  ): Value[];
}

function graphOf({ inputs, build, opset }: Case): Graph {
  const graph = new Graph('case');
  if (opset) graph.opsets.set('', opset);
  const b = new Builder(graph);
  const values = Object.fromEntries(
    Object.entries(inputs).map(([name, shape]) => [name, graph.addInput(name, 'float32', shape)]),
  );
  let seed = 1;
  const outputs = build(b, values, (shape, name = `c${seed}`) =>
    graph.addConstant(name, random(shape, ++seed)),
  );
  graph.outputs.push(...outputs);
  return graph;
}

/** Runs the pass on a copy; the outputs' names and values must be what they were. Returns the op names. */
async function rewritten(
  test: Case,
  pass: (graph: Graph) => number | Promise<number>,
): Promise<{ ops: string[]; count: number; graph: Graph }> {
  const source = graphOf(test);
  const { graph } = source.clone();
  const count = await pass(graph);
  expect(checkGraph(graph)).toEqual([]);
  expect(graph.outputs.map((value) => value.name)).toEqual(source.outputs.map((value) => value.name));
  const feeds: Tensors = {};
  for (const [name, shape] of Object.entries(test.inputs)) {
    feeds[name] = random(
      shape.map((dim) => (typeof dim === 'number' ? dim : 2)),
      7,
    );
  }
  const before = await runOnce(onnxruntime, source, feeds, { optimization: 'disabled' });
  const after = await runOnce(onnxruntime, graph, feeds, { optimization: 'disabled' });
  for (const [name, tensor] of Object.entries(before)) {
    expect(after[name]!.shape).toEqual(tensor.shape);
    const expected = Array.from(tensor.data as Float32Array, Number);
    Array.from(after[name]!.data as Float32Array, Number).forEach((value, i) => {
      expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(1e-5 * (1 + Math.abs(expected[i]!)));
    });
  }
  return { ops: graph.nodes.map((node) => node.op), count, graph };
}

const x: Record<string, Dim[]> = { x: ['N', 6, 8] };

describe('foldConstants', () => {
  const fold = (graph: Graph) => foldConstants(onnxruntime, graph);

  it('computes what depends on constants alone; a laid-out weight keeps its name', async () => {
    const { ops, graph } = await rewritten(
      {
        inputs: x,
        build: (b, { x }, constant) => [
          b.op('MatMul', [x, b.op('Transpose', [constant([5, 8], 'fc.weight')], { perm: [1, 0] })]),
        ],
      },
      fold,
    );
    expect(ops).toEqual(['MatMul']);
    expect([...graph.constants.keys()]).toEqual(['fc.weight']);
    expect(graph.constants.get('fc.weight')!.shape).toEqual([8, 5]);
  });

  it('leaves the name with a parameter that others read', async () => {
    const { ops, graph } = await rewritten(
      {
        inputs: { x: ['N', 6, 6] },
        build: (b, { x }, constant) => {
          const weight = constant([6, 6], 'w');
          return [
            b.op('Add', [
              b.op('MatMul', [x, b.op('Transpose', [weight], { perm: [1, 0] })]),
              b.op('Mul', [x, weight]),
            ]),
          ];
        },
      },
      fold,
    );
    expect(ops).toEqual(['MatMul', 'Mul', 'Add']);
    expect(graph.constants.get('w')!.tensor!.data).toEqual(random([6, 6], 2).data);
  });

  it('knows the shape of what is static', async () => {
    const { ops } = await rewritten(
      {
        inputs: { x: [2, 6, 8] },
        build: (b, { x }) => [
          b.op('Reshape', [
            x,
            b.op('Concat', [b.op('Shape', [x], { start: 0, end: 1 }), b.ints([-1])], { axis: 0 }),
          ]),
        ],
      },
      fold,
    );
    expect(ops).toEqual(['Reshape']);
  });

  it('does not fire on what swells, on random numbers, or on the batch', async () => {
    const graph = graphOf({
      inputs: x,
      build: (b, { x }, constant) => [
        b.op('Add', [x, b.op('Expand', [constant([1, 1, 8]), b.ints([1000, 6, 8])])]),
        b.op('RandomNormal', [], { shape: [2] }),
        b.op('Shape', [x]),
      ],
    });
    expect(await fold(graph)).toBe(0);
  });
});

describe('eliminateIdentities', () => {
  it('removes nodes that pass a value on', async () => {
    const { ops } = await rewritten(
      {
        inputs: x,
        build: (b, { x }) => {
          let y = b.op('Neg', [b.op('Identity', [x])]);
          y = b.op('Dropout', [y]);
          y = b.op('Cast', [y], { to: 1 });
          y = b.op('Transpose', [y], { perm: [0, 1, 2] });
          y = b.op('Reshape', [y, b.ints([0, 6, -1])]);
          y = b.op('Mul', [b.op('Add', [Tensor.zeros('float32', [8]), y]), Tensor.float32([1], [1])]);
          return [b.op('Concat', [y], { axis: 0 }, 'y')];
        },
      },
      eliminateIdentities,
    );
    expect(ops).toEqual(['Neg']);
  });

  it('goes back to what several Reshapes end as', async () => {
    const { ops } = await rewritten(
      {
        inputs: x,
        build: (b, { x }) => {
          const rows = b.op('Reshape', [b.op('Neg', [x]), b.ints([-1, 8])]);
          const boxed = b.op('Reshape', [rows, b.ints([-1, 6, 2, 4])]);
          const halves = b.op('Relu', [b.op('Reshape', [rows, b.ints([-1, 12, 4])])]);
          return [b.op('Abs', [b.op('Reshape', [boxed, b.ints([-1, 6, 8])])]), halves];
        },
      },
      (graph) => eliminateIdentities(graph) + graph.removeDead(),
    );
    expect(ops).toEqual(['Neg', 'Reshape', 'Reshape', 'Relu', 'Abs']);
  });

  it('merges transposes', async () => {
    const { ops } = await rewritten(
      {
        inputs: x,
        build: (b, { x }) => [
          b.op('Transpose', [b.op('Transpose', [x], { perm: [1, 2, 0] })], { perm: [1, 0, 2] }),
          b.op('Relu', [
            b.op('Transpose', [b.op('Transpose', [x], { perm: [1, 2, 0] })], { perm: [2, 0, 1] }),
          ]),
        ],
      },
      eliminateIdentities,
    );
    expect(ops).toEqual(['Transpose', 'Relu']);
  });

  it('does not fire on what does something, or bears a name that is needed', async () => {
    const { count } = await rewritten(
      {
        inputs: { x: ['N', 1, 8] },
        build: (b, { x }) => {
          const y = b.op('Neg', [x]);
          return [
            b.op('Identity', [x]),
            y,
            b.op('Identity', [y]),
            b.op('Relu', [b.op('Add', [x, Tensor.zeros('float32', [6, 8])])]),
            b.op('Abs', [b.op('Reshape', [x, b.ints([-1, 8])])]),
            b.op('Sub', [Tensor.zeros('float32', [8]), b.op('Abs', [x])]),
          ];
        },
      },
      eliminateIdentities,
    );
    expect(count).toBe(0);
  });
});

describe('deduplicate', () => {
  it('keeps one of equal constants and of equal nodes', async () => {
    const { ops, graph } = await rewritten(
      {
        inputs: x,
        build: (b, { x }) => {
          const twice = ['a', 'b'].map((name) => b.graph.addConstant(name, random([8], 3)));
          const [p, q] = twice.map((c) => b.op('Softmax', [b.op('Mul', [x, c])], { axis: -1 }));
          return [b.op('Add', [p, q])];
        },
      },
      deduplicate,
    );
    expect(ops).toEqual(['Mul', 'Softmax', 'Add']);
    expect([...graph.constants.keys()]).toEqual(['a']);
  });

  it('does not fire on what differs in shape, attributes or chance', async () => {
    const graph = graphOf({
      inputs: x,
      build: (b, { x }) => [
        b.op('Add', [b.op('Softmax', [x], { axis: 1 }), b.op('Softmax', [x], { axis: -1 })]),
        b.op('Add', [b.op('RandomNormal', [], { shape: [2] }), b.op('RandomNormal', [], { shape: [2] })]),
        b.op('Add', [b.graph.addConstant('a', random([8])), b.graph.addConstant('b', random([1, 8]))]),
      ],
    });
    expect(deduplicate(graph)).toBe(0);
  });
});

describe('fuseMatMul', () => {
  const pair: Record<string, Dim[]> = { q: ['N', 6, 6, 8], k: ['N', 6, 6, 8] };
  const scale = () => Tensor.scalar(0.125);

  it('takes scales and transposes in', async () => {
    const { ops, graph } = await rewritten(
      {
        inputs: pair,
        build: (b, { q, k }) => {
          const kt = b.op('Transpose', [k], { perm: [0, 1, 3, 2] });
          return [b.op('Div', [b.op('MatMul', [b.op('Mul', [scale(), q]), kt]), Tensor.float32([1], [2])])];
        },
      },
      fuseMatMul,
    );
    expect(ops).toEqual(['com.microsoft.FusedMatMul']);
    const { alpha, transA, transB } = argumentsOf<'com.microsoft.FusedMatMul'>(graph.nodes[0]!);
    expect({ alpha, transA, transB }).toEqual({ alpha: 0.0625, transA: 0, transB: 1 });
  });

  it('takes a transposed left operand in', async () => {
    const { ops } = await rewritten(
      {
        inputs: pair,
        build: (b, { q, k }) => [b.op('MatMul', [b.op('Transpose', [q], { perm: [0, 1, 3, 2] }), k])],
      },
      fuseMatMul,
    );
    expect(ops).toEqual(['com.microsoft.FusedMatMul']);
  });

  it('does not fire on linear layers, other transposes, or what others read', async () => {
    const { count } = await rewritten(
      {
        inputs: { ...pair, ...x },
        build: (b, { q, k, x }, constant) => [
          b.op('MatMul', [x, b.op('Transpose', [constant([5, 8])], { perm: [1, 0] })]),
          b.op('MatMul', [q, b.op('Transpose', [k], { perm: [0, 2, 3, 1] })]),
        ],
      },
      fuseMatMul,
    );
    expect(count).toBe(0);
  });

  it('leaves a scaled operand that others read', async () => {
    const { count } = await rewritten(
      {
        inputs: { q: [2, 6, 6], k: [2, 6, 6] },
        build: (b, { q, k }) => {
          const scaled = b.op('Mul', [q, scale()]);
          return [b.op('MatMul', [scaled, k]), b.op('Relu', [scaled])];
        },
      },
      fuseMatMul,
    );
    expect(count).toBe(0);
  });
});

describe('packHeads', () => {
  const qkv: Record<string, Dim[]> = { x: ['N', 5, 24] };
  const packed = (b: Builder, x: Value, perm = [2, 0, 3, 1, 4]) =>
    b.op('Transpose', [b.op('Reshape', [x, b.ints([0, 0, 3, 2, -1])])], { perm });

  it('cuts parts taken by Split and Squeeze along the heads', async () => {
    const { ops } = await rewritten(
      {
        inputs: qkv,
        build: (b, { x }) => {
          const split = b.node('Split', [packed(b, x!)], { axis: 0, num_outputs: 3 }, 3);
          return split.outputs.map((part, i) => b.op('Squeeze', [part, b.ints([0])], {}, `part${i}`));
        },
      },
      packHeads,
    );
    expect(ops).toEqual(['Reshape', 'Transpose', 'Split']);
  });

  it.each([20, 17])('cuts parts taken by Gather, in any order (operator set %s)', async (opset) => {
    const { ops } = await rewritten(
      {
        opset,
        inputs: qkv,
        build: (b, { x }) => {
          const parts = packed(b, x!);
          return [2, 0, -2].map((i) => b.op('Gather', [parts, Tensor.scalar(i, 'int64')], { axis: 0 }));
        },
      },
      packHeads,
    );
    expect(ops).toEqual(['Reshape', 'Transpose', 'Split']);
  });

  it('does not fire on other layouts or when the packed value is read', async () => {
    const { count } = await rewritten(
      {
        inputs: qkv,
        build: (b, { x }) => {
          const other = packed(b, x!, [2, 0, 1, 3, 4]);
          const read = packed(b, x!);
          const zero = Tensor.scalar(0, 'int64');
          return [
            b.op('Gather', [other, zero], { axis: 0 }),
            b.op('Gather', [read, zero], { axis: 0 }),
            b.op('Relu', [read]),
          ];
        },
      },
      packHeads,
    );
    expect(count).toBe(0);
  });
});

describe('foldScales', () => {
  const foldAll = async (graph: Graph) => {
    const count = foldScales(graph);
    await foldConstants(onnxruntime, graph);
    return count;
  };

  it('folds a factor per channel into weight and bias', async () => {
    const { ops, count } = await rewritten(
      {
        inputs: x,
        build: (b, { x }, constant) => {
          const weight = b.op('Transpose', [constant([5, 8], 'w')], { perm: [1, 0] });
          const linear = b.op('Add', [b.op('MatMul', [x, weight]), constant([5], 'b')]);
          return [b.op('Mul', [linear, constant([5], 'gamma')])];
        },
      },
      foldAll,
    );
    expect([count, ops]).toEqual([1, ['MatMul', 'Add']]);
  });

  it('folds it into the scales of an integer layer', async () => {
    const { ops, count } = await rewritten(
      {
        inputs: x,
        build: (b, { x }, constant) => {
          const weight = new Tensor(
            'int8',
            [8, 5],
            Int8Array.from({ length: 40 }, (_, i) => i * 3 - 60),
          );
          const numbers = (factor: number) =>
            Tensor.float32(
              [5],
              Float32Array.from({ length: 5 }, (_, i) => factor * (i + 1)),
            );
          const operands = [x, weight, numbers(0.01), undefined, constant([5])];
          return [b.op('Mul', [b.op('com.microsoft.DynamicQuantizeMatMul', operands), numbers(0.5)])];
        },
      },
      foldAll,
    );
    expect([count, ops]).toEqual([1, ['com.microsoft.DynamicQuantizeMatMul']]);
  });

  const attention = (int8: boolean): Case => ({
    inputs: { x: ['N', 5, 8] },
    build: (b, { x }, constant) => {
      const weight = new Tensor(
        'int8',
        [8, 24],
        Int8Array.from({ length: 192 }, (_, i) => ((i * 37) % 255) - 127),
      );
      const scale = Tensor.float32(
        [24],
        Float32Array.from({ length: 24 }, (_, i) => 0.01 + i / 1000),
      );
      const layer = int8
        ? b.op('com.microsoft.DynamicQuantizeMatMul', [x, weight, scale, undefined, constant([24])])
        : b.op('Add', [b.op('MatMul', [x, constant([8, 24])]), constant([24])]);
      const boxed = b.op('Reshape', [layer, b.ints([0, 0, 6, 4])]);
      const headsFirst = b.op('Transpose', [boxed], { perm: [0, 2, 1, 3] });
      const [q, k, v] = b.node('Split', [headsFirst], { axis: 1, num_outputs: 3 }, 3).outputs;
      return [b.op('Mul', [q!, Tensor.scalar(0.5)]), k!, b.op('Mul', [Tensor.scalar(3), v!])];
    },
  });

  it.each([false, true])('folds factors on packed parts (int8 %s)', async (int8) => {
    const { ops, count } = await rewritten(attention(int8), foldAll);
    expect(count).toBe(1);
    expect(ops).not.toContain('Mul');
  });

  it('keeps the one scale of int8 weights that share it', async () => {
    const graph = graphOf(attention(true));
    const layer = graph.nodes.find(({ op }) => op === 'com.microsoft.DynamicQuantizeMatMul')!;
    layer.setInput(2, graph.addConstant('scale', Tensor.scalar(0.01)));
    expect(foldScales(graph)).toBe(0);
  });

  it('keeps the scales of int8 weights positive', async () => {
    const graph = graphOf(attention(true));
    const mul = graph.nodes.find(({ op }) => op === 'Mul')!;
    mul.setInput(1, graph.addConstant('negative', Tensor.scalar(-0.5)));
    expect(foldScales(graph)).toBe(0);
  });

  it('scales the channels of parts that are not equal', async () => {
    const { ops, count } = await rewritten(
      {
        inputs: { x: ['N', 5, 8] },
        build: (b, { x }, constant) => {
          const layer = b.op('MatMul', [x, constant([8, 12])]);
          const boxed = b.op('Reshape', [layer, b.ints([0, 0, 3, 4])]);
          const headsFirst = b.op('Transpose', [boxed], { perm: [0, 2, 1, 3] });
          const [two, one] = b.node('Split', [headsFirst], { axis: 1, num_outputs: 2 }, 2).outputs;
          return [b.op('Relu', [two]), b.op('Mul', [one, Tensor.scalar(3)])];
        },
      },
      foldAll,
    );
    expect(count).toBe(1);
    expect(ops).not.toContain('Mul');
  });

  it('does not fire on shared weights, other readers, or factors along other axes', async () => {
    const { count } = await rewritten(
      {
        inputs: { x: ['N', 5, 8] },
        build: (b, { x }, constant) => {
          const shared = constant([8, 5]);
          const read = b.op('MatMul', [x, constant([8, 5])]);
          return [
            b.op('Mul', [b.op('MatMul', [x, shared]), constant([5])]),
            b.op('MatMul', [b.op('Relu', [x]), shared]),
            b.op('Mul', [read, constant([5])]),
            b.op('Relu', [read]),
            b.op('Mul', [b.op('MatMul', [x, constant([8, 5])]), constant([5, 1])]),
          ];
        },
      },
      foldScales,
    );
    expect(count).toBe(0);
  });
});

describe('foldConstants', () => {
  it('computes with the operator set of the graph', async () => {
    const { ops } = await rewritten(
      {
        opset: 11,
        inputs: { x: [2, 6] },
        build: (b, { x }, constant) => [b.op('Add', [x, b.op('Unsqueeze', [constant([6])], { axes: [0] })])],
      },
      (graph) => foldConstants(onnxruntime, graph),
    );
    expect(ops).toEqual(['Add']);
  });
});

describe('what is a graph output', () => {
  it('is not laid anew, nor does the mask of a Dropout go', async () => {
    const { count } = await rewritten(
      {
        inputs: { x: ['N', 5, 8] },
        build: (b, { x }, constant) => {
          const weight = constant([8, 6]);
          return [b.op('MatMul', [x, weight]), weight];
        },
      },
      (graph) => layOutRows(onnxruntime, graph),
    );
    expect(count).toBe(0);
    const graph = new Graph();
    const dropout = new Builder(graph).node('Dropout', [graph.addInput('x', 'float32', ['N'])], {}, 2);
    graph.outputs.push(dropout.output(0), dropout.output(1));
    expect(eliminateIdentities(graph)).toBe(0);
  });
});

describe('attributes', () => {
  it('of float kind survive folding', async () => {
    const { ops } = await rewritten(
      {
        inputs: x,
        build: (b, { x }, constant) => [
          b.op('Add', [x, b.op('Elu', [constant([8])], { alpha: float(0.5) })]),
        ],
      },
      (graph) => foldConstants(onnxruntime, graph),
    );
    expect(ops).toEqual(['Add']);
  });
});
