import { type AttributeInput, float } from '../graph/attribute.ts';
import type { Shape } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';

/** An operand: a float input to differentiate, with the interval its elements lie in, or a constant. */
export type Operand = { shape: Shape; low: number; high: number } | Tensor | undefined;

/** One way to use an op, for tests that are generated per rule. `N` is the batch. */
export interface OpCase {
  op: string;
  inputs: readonly Operand[];
  attributes?: Record<string, AttributeInput>;
  outputs?: number;
  opset?: number;
}

const of = (...shape: Shape): Operand => ({ shape, low: -1.5, high: 1.5 });
const positive = (...shape: Shape): Operand => ({ shape, low: 0.5, high: 2 });
const ints = (...values: number[]) => Tensor.int64(values);
const x = of('N', 3, 4);
const image = of('N', 2, 5, 6);

/** Every gradient rule in its variants: broadcasting, axes, transposes, windows. */
export const opCases: OpCase[] = [
  ...'Abs Neg Exp Sin Cos Erf Identity Relu LeakyRelu Tanh Sigmoid Softplus HardSwish Floor Ceil Round Sign Gelu Softmax LogSoftmax com.microsoft.Gelu com.microsoft.QuickGelu'
    .split(' ')
    .map((op) => ({ op, inputs: [x] })),
  ...'Sqrt Log Reciprocal'.split(' ').map((op) => ({ op, inputs: [positive('N', 3, 4)] })),
  ...'Add Sub Mul Max Min'.split(' ').flatMap((op) => [
    { op, inputs: [x, of(3, 1)] },
    { op, inputs: [of(4), of('N', 1, 4)] },
  ]),
  { op: 'Sum', inputs: [x, of(3, 1), of(4)] },
  { op: 'Div', inputs: [x, positive(3, 1)] },
  { op: 'Div', inputs: [of(), positive('N', 3)] },
  { op: 'Pow', inputs: [x, Tensor.scalar(2)] },
  { op: 'Pow', inputs: [x, Tensor.scalar(3)] },
  { op: 'Pow', inputs: [positive('N', 4), Tensor.scalar(0.5)] },
  { op: 'Pow', inputs: [positive('N', 4), Tensor.scalar(-1.5)] },
  { op: 'Pow', inputs: [positive('N', 4), of(4)] },
  { op: 'Gelu', inputs: [x], attributes: { approximate: 'tanh' } },
  { op: 'com.microsoft.QuickGelu', inputs: [x], attributes: { alpha: float(1) } },
  { op: 'Softmax', inputs: [x], attributes: { axis: 1 } },
  { op: 'LogSoftmax', inputs: [x], attributes: { axis: 1 } },
  { op: 'Cast', inputs: [x], attributes: { to: 11 } },
  {
    op: 'Where',
    inputs: [new Tensor('bool', [3, 4], Uint8Array.of(1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1)), x, of(4)],
  },
  { op: 'Clip', inputs: [x, Tensor.scalar(-0.7), Tensor.scalar(0.6)] },
  { op: 'Clip', inputs: [x, Tensor.scalar(0)] },

  { op: 'MatMul', inputs: [x, of(4, 5)] },
  { op: 'MatMul', inputs: [of('N', 2, 3, 4), of('N', 2, 4, 2)] },
  { op: 'MatMul', inputs: [of(3, 4), of('N', 4, 2)] },
  { op: 'MatMul', inputs: [x, of(4)] },
  { op: 'MatMul', inputs: [of(3), x] },
  { op: 'MatMul', inputs: [of('N', 4), of(4, 3)] },
  ...[0, 1, 2, 3].map((flags) => ({
    op: 'com.microsoft.FusedMatMul',
    inputs: [flags & 1 ? of('N', 4, 3) : x, flags & 2 ? of('N', 5, 4) : of('N', 4, 5)],
    attributes: { transA: flags & 1, transB: flags >> 1, alpha: float(0.5) },
  })),
  { op: 'com.microsoft.FusedMatMul', inputs: [x, of(5, 4)], attributes: { transB: 1 } },
  ...[0, 1, 2, 3].map((flags) => ({
    op: 'Gemm',
    inputs: [flags & 1 ? of(4, 'N') : of('N', 4), flags & 2 ? of(5, 4) : of(4, 5), of(5)],
    attributes: { transA: flags & 1, transB: flags >> 1, alpha: float(0.5), beta: float(2) },
  })),
  { op: 'Gemm', inputs: [of('N', 4), of(4, 5)] },
  { op: 'Gemm', inputs: [of('N', 4), of(4, 5), of()] },

  { op: 'LayerNormalization', inputs: [x, of(4), of(4)] },
  { op: 'LayerNormalization', inputs: [x, of(3, 4)], attributes: { axis: 1, epsilon: float(0.1) } },
  { op: 'RMSNormalization', inputs: [x, of(4)], opset: 23 },
  { op: 'SimplifiedLayerNormalization', inputs: [x, of(4)], attributes: { axis: -1 } },

  ...'ReduceSum ReduceMean ReduceMax ReduceMin ReduceSumSquare ReduceL2'.split(' ').flatMap((op) => [
    { op, inputs: [x, ints(-1)], attributes: { keepdims: 0 } },
    { op, inputs: [x, ints(0, 2)], attributes: { keepdims: 1 } },
    { op, inputs: [x] },
  ]),
  { op: 'GlobalAveragePool', inputs: [image] },

  { op: 'Reshape', inputs: [x, ints(0, 2, 6)] },
  { op: 'Reshape', inputs: [x, ints(-1, 4)] },
  { op: 'Flatten', inputs: [x], attributes: { axis: 1 } },
  { op: 'Squeeze', inputs: [of('N', 1, 3), ints(1)] },
  { op: 'Unsqueeze', inputs: [x, ints(0, -1)] },
  { op: 'Transpose', inputs: [x], attributes: { perm: [2, 0, 1] } },
  { op: 'Split', inputs: [x, ints(1, 2, 1)], attributes: { axis: -1 }, outputs: 3 },
  { op: 'Split', inputs: [x], attributes: { axis: 1, num_outputs: 3 }, outputs: 3 },
  { op: 'Concat', inputs: [x, of('N', 2, 4)], attributes: { axis: 1 } },
  { op: 'Concat', inputs: [x, Tensor.float32([2, 1, 4], Array(8).fill(1))], attributes: { axis: 1 } },
  { op: 'Slice', inputs: [x, ints(1), ints(100), ints(1)] },
  { op: 'Slice', inputs: [x, ints(-3, 0), ints(-1, 2), ints(2, 1)] },
  { op: 'Slice', inputs: [x, ints(-1), ints(-100), ints(2), ints(-2)] },
  { op: 'Gather', inputs: [x, Tensor.scalar(0, 'int64')], attributes: { axis: 1 } },
  { op: 'Gather', inputs: [x, ints(1, 2)], attributes: { axis: -1 } },
  { op: 'Gather', inputs: [x, ints(2, 0, 2)], attributes: { axis: 1 } },
  { op: 'Gather', inputs: [of(5, 3), Tensor.int64([4, 0, 4, -1], [2, 2])] },
  { op: 'Expand', inputs: [of(1, 3, 1), ints(2, 3, 4)] },
  { op: 'Pad', inputs: [x, ints(0, 1, 2, 0, 0, 3)] },

  { op: 'Conv', inputs: [of('N', 2, 4, 6), of(3, 2, 2, 3), of(3)], attributes: { strides: [2, 3] } },
  { op: 'Conv', inputs: [image, of(3, 2, 3, 3)], attributes: { strides: [2, 2], pads: [1, 1, 1, 1] } },
  { op: 'Conv', inputs: [image, of(4, 1, 2, 2), of(4)], attributes: { group: 2, dilations: [2, 2] } },
  { op: 'Conv', inputs: [image, of(3, 2, 2, 3)], attributes: { auto_pad: 'SAME_UPPER', strides: [2, 1] } },
  { op: 'Conv', inputs: [of('N', 2, 7), of(3, 2, 3)], attributes: { strides: [2] } },
];
