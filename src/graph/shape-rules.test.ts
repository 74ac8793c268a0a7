import { describe, expect, it } from 'vitest';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce, type Tensors } from '../runtime/session.ts';
import { type AttributeInput, float } from './attribute.ts';
import { Builder } from './builder.ts';
import { type Dim, Graph, type Shape } from './graph.ts';
import { shapeRules } from './shapes/rules.ts';
import { type NumericType, Tensor } from './tensor.ts';

/** An operand: the shape of a float input (`N` is the batch), a typed input, or a constant. */
type Operand = Shape | { dtype: NumericType; shape: Shape } | Tensor | undefined;

interface OpCase {
  op: string;
  inputs: readonly Operand[];
  attributes?: Record<string, AttributeInput>;
  outputs?: number;
  opset?: number;
}

const ints = (...values: number[]) => Tensor.int64(values);
const batch = 2;
const x: Shape = ['N', 6, 8];
const image: Shape = ['N', 4, 9, 9];
const unary =
  'Abs Acos Asin Atan Ceil Celu Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Hardmax Identity Log LogSoftmax LpNormalization Mish Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.QuickGelu';
const reductions =
  'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp';
const truth = (shape: Shape): Operand => ({ dtype: 'bool', shape });

const cases: OpCase[] = [
  ...unary.split(' ').map((op) => ({ op, inputs: [x] })),
  ...'Add Sub Mul Div Pow Min Max Mean Sum PRelu'
    .split(' ')
    .map((op) => ({ op, inputs: [x, [6, 1]] as Operand[] })),
  ...'Equal Greater GreaterOrEqual Less LessOrEqual'
    .split(' ')
    .map((op) => ({ op, inputs: [x, [1, 8]] as Operand[] })),
  ...'And Or Xor'.split(' ').map((op) => ({ op, inputs: [truth(x), truth([6, 1])] })),
  { op: 'Not', inputs: [truth(x)] },
  ...'IsNaN IsInf'.split(' ').map((op) => ({ op, inputs: [x] })),
  { op: 'Mod', inputs: [{ dtype: 'int64', shape: x }, ints(3)] },
  {
    op: 'BitShift',
    inputs: [{ dtype: 'uint8', shape: x }, new Tensor('uint8', [1], Uint8Array.of(1))],
    attributes: { direction: 'LEFT' },
  },
  ...reductions.split(' ').map((op) => ({ op, inputs: [x, ints(-1)], attributes: { keepdims: 0 } })),
  { op: 'ReduceMean', inputs: [x, ints(1, 2)] },
  { op: 'ReduceSum', inputs: [x] },
  { op: 'ArgMax', inputs: [x], attributes: { axis: -1, keepdims: 0 } },
  { op: 'ArgMin', inputs: [x], attributes: { axis: 1 } },
  { op: 'Where', inputs: [{ dtype: 'bool', shape: ['N', 6, 1] }, x, [8]] },
  { op: 'MatMul', inputs: [x, [8, 5]] },
  {
    op: 'MatMul',
    inputs: [
      ['N', 3, 6, 8],
      ['N', 3, 8, 2],
    ],
  },
  { op: 'MatMul', inputs: [[8], [8, 5]] },
  { op: 'com.microsoft.FusedMatMul', inputs: [x, [5, 8]], attributes: { transB: 1 } },
  {
    op: 'com.microsoft.FusedMatMul',
    inputs: [
      ['N', 6, 8],
      ['N', 6, 5],
    ],
    attributes: { transA: 1 },
  },
  { op: 'Gemm', inputs: [['N', 8], [5, 8], [5]], attributes: { transB: 1 } },
  {
    op: 'Conv',
    inputs: [image, [6, 4, 3, 3]],
    attributes: { strides: [2, 2], pads: [1, 1, 1, 1], kernel_shape: [3, 3] },
  },
  { op: 'Conv', inputs: [image, [4, 1, 3, 3]], attributes: { group: 4, dilations: [2, 2] } },
  { op: 'Conv', inputs: [image, [6, 4, 3, 3]], attributes: { auto_pad: 'SAME_UPPER', strides: [2, 2] } },
  { op: 'MaxPool', inputs: [image], attributes: { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 } },
  { op: 'AveragePool', inputs: [image], attributes: { kernel_shape: [3, 3] } },
  ...'GlobalAveragePool GlobalMaxPool'.split(' ').map((op) => ({ op, inputs: [image] })),
  { op: 'BatchNormalization', inputs: [image, [4], [4], [4], [4]] },
  { op: 'InstanceNormalization', inputs: [image, [4], [4]] },
  { op: 'GroupNormalization', inputs: [image, [4], [4]], attributes: { num_groups: 2 }, opset: 21 },
  { op: 'Reshape', inputs: [x, ints(0, -1)] },
  { op: 'Reshape', inputs: [x, ints(-1, 8)] },
  { op: 'Reshape', inputs: [x, ints(0, 0, 2, 4)] },
  { op: 'Transpose', inputs: [x], attributes: { perm: [2, 0, 1] } },
  { op: 'Split', inputs: [x, ints(2, 3, 3)], attributes: { axis: -1 }, outputs: 3 },
  { op: 'Split', inputs: [x], attributes: { axis: 1, num_outputs: 3 }, outputs: 3 },
  { op: 'Concat', inputs: [x, ['N', 2, 8]], attributes: { axis: 1 } },
  { op: 'Slice', inputs: [x, ints(1), ints(100), ints(1), ints(2)] },
  { op: 'Slice', inputs: [x, ints(-1), ints(-100), ints(2), ints(-1)] },
  { op: 'Gather', inputs: [x, Tensor.scalar(0, 'int64')], attributes: { axis: 1 } },
  { op: 'Gather', inputs: [x, Tensor.int64([0, 1, 2, 3], [2, 2])], attributes: { axis: 2 } },
  { op: 'GatherElements', inputs: [[6, 8], Tensor.int64([0, 1, 2, 3], [2, 2])] },
  { op: 'Unsqueeze', inputs: [x, ints(0, -1)] },
  { op: 'Squeeze', inputs: [['N', 1, 8], ints(1)] },
  { op: 'Expand', inputs: [[1, 6, 1], ints(3, 1, 4)] },
  { op: 'Tile', inputs: [x, ints(1, 2, 3)] },
  { op: 'Pad', inputs: [x, ints(0, 1, 2, 0, 0, 3)] },
  { op: 'Flatten', inputs: [image], attributes: { axis: 2 } },
  { op: 'LayerNormalization', inputs: [x, [8], [8]], outputs: 3 },
  { op: 'RMSNormalization', inputs: [x, [8]], opset: 23 },
  { op: 'SimplifiedLayerNormalization', inputs: [x, [8]], attributes: { axis: -1 } },
  { op: 'com.microsoft.SkipLayerNormalization', inputs: [x, x, [8], [8]] },
  { op: 'com.microsoft.BiasGelu', inputs: [x, [8]] },
  { op: 'com.microsoft.MultiHeadAttention', inputs: [x, x, x], attributes: { num_heads: 2 } },
  { op: 'Constant', inputs: [], attributes: { value_ints: [1, 2, 3] } },
  { op: 'ConstantOfShape', inputs: [ints(2, 3)] },
  { op: 'Size', inputs: [x] },
  { op: 'CastLike', inputs: [x, { dtype: 'int32', shape: [1] }] },
  { op: 'ScatterND', inputs: [x, Tensor.int64([0], [1, 1]), [1, 6, 8]] },
  { op: 'ScatterElements', inputs: [[6, 8], Tensor.int64([0, 1, 2, 3], [2, 2]), [2, 2]] },
  { op: 'Shape', inputs: [x], attributes: { start: 1 } },
  { op: 'Cast', inputs: [x], attributes: { to: 10 } },
  {
    op: 'OneHot',
    inputs: [{ dtype: 'int64', shape: ['N'] }, Tensor.scalar(5, 'int64'), Tensor.float32([2], [0, 1])],
  },
  {
    op: 'Resize',
    inputs: [image, undefined, Tensor.float32([4], [1, 1, 2, 3])],
    attributes: { mode: 'nearest' },
  },
  { op: 'QuantizeLinear', inputs: [x, Tensor.scalar(0.5), new Tensor('uint8', [], Uint8Array.of(3))] },
  { op: 'DequantizeLinear', inputs: [{ dtype: 'int8', shape: x }, Tensor.scalar(0.5)] },
  { op: 'DynamicQuantizeLinear', inputs: [x], outputs: 3 },
  {
    op: 'com.microsoft.DynamicQuantizeMatMul',
    inputs: [x, { dtype: 'int8', shape: [8, 5] }, [5], undefined, [5]],
  },
  {
    op: 'MatMulInteger',
    inputs: [
      { dtype: 'uint8', shape: x },
      { dtype: 'int8', shape: [8, 5] },
    ],
  },
  {
    op: 'com.microsoft.MatMulIntegerToFloat',
    inputs: [{ dtype: 'uint8', shape: x }, { dtype: 'int8', shape: [8, 5] }, Tensor.scalar(0.5), [5]],
  },
  {
    op: 'QLinearMatMul',
    inputs: [
      { dtype: 'uint8', shape: x },
      Tensor.scalar(0.5),
      new Tensor('uint8', [], Uint8Array.of(3)),
      { dtype: 'int8', shape: [8, 5] },
      Tensor.scalar(0.5),
      new Tensor('int8', [], Int8Array.of(0)),
      Tensor.scalar(0.5),
      new Tensor('uint8', [], Uint8Array.of(3)),
    ],
  },
  { op: 'Clip', inputs: [x, Tensor.scalar(0)] },
  { op: 'CumSum', inputs: [x, Tensor.scalar(1, 'int64')], attributes: {} },
  { op: 'LeakyRelu', inputs: [x], attributes: { alpha: float(0.1) } },
];

const concrete = (dim: Dim): number =>
  typeof dim === 'number'
    ? dim
    : dim.split('*').reduce((p, part) => p * (part === 'N' ? batch : Number(part)), 1);

describe('shape rules agree with the engine', () => {
  it.each(cases)('$op $inputs', async ({ op, inputs, attributes, outputs = 1, opset }) => {
    const graph = new Graph();
    if (opset) graph.opsets.set('', opset);
    const feeds: Tensors = {};
    const operands = inputs.map((operand, i) => {
      if (operand === undefined || operand instanceof Tensor) return operand;
      const { dtype, shape } = 'dtype' in operand ? operand : { dtype: 'float32' as const, shape: operand };
      feeds[`x${i}`] = Tensor.zeros(dtype, shape.map(concrete));
      return graph.addInput(`x${i}`, dtype, shape);
    });
    const node = new Builder(graph).node(op, operands, attributes, outputs);
    const made = node.outputs.flatMap((value) => value ?? []);
    const declared = made.map(({ dtype, shape }) => ({ dtype, shape: shape?.map(concrete) }));
    graph.outputs.push(...made);
    const results = await runOnce(onnxruntime, graph, feeds, { optimization: 'disabled' });
    const actual = made.map(({ name }) => ({
      dtype: results[name]!.dtype,
      shape: [...results[name]!.shape],
    }));
    expect(declared).toEqual(actual);
  });

  it('every rule of an op that the engine has on a CPU has a case', () => {
    const covered = new Set([...cases.map(({ op }) => op), 'com.microsoft.BiasSoftmax']);
    expect(Object.keys(shapeRules).filter((op) => !covered.has(op))).toEqual([]);
  });
});
