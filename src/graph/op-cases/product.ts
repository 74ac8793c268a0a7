import { Tensor } from '../tensor.ts';
import { floats, irregular, type OpCase, opCase, typed } from './case.ts';

const x = floats('N', 3, 4);
const image = floats('N', 2, 5, 6);
const flags = [0, 1, 2, 3].map((bits) => ({ transA: bits & 1, transB: bits >> 1 }));
const uint8 = (value: number) => new Tensor('uint8', [], Uint8Array.of(value));
const weight = irregular('int8', [4, 5], 3);
const scales = irregular('float32', [5], 4);

/** Products of matrices, convolutions, quantized numbers. */
export const productCases: OpCase[] = [
  opCase('MatMul', [x, floats(4, 5)]),
  opCase('MatMul', [floats('N', 2, 3, 4), floats('N', 2, 4, 2)]),
  opCase('MatMul', [floats(3, 4), floats('N', 4, 2)]),
  opCase('MatMul', [x, floats(4)]),
  opCase('MatMul', [floats(3), x]),
  opCase('MatMul', [floats('N', 4), floats(4, 3)]),
  opCase('MatMul', [x, irregular('float32', [4, 5], 2)]),
  opCase('MatMul', [floats('N', 40, 3), floats(3, 5)]),
  opCase('MatMul', [floats(40, 5), floats(5, 3)]),
  opCase('Gemm', [floats(40, 3), floats(5, 3), floats(5)], { transB: 1, alpha: 0.5 }),
  opCase('Gemm', [floats(40, 5), floats(3, 5), floats(3)], { transB: 1 }),
  ...flags.flatMap(({ transA, transB }) => [
    opCase(
      'com.microsoft.FusedMatMul',
      [transA ? floats('N', 4, 3) : x, transB ? floats('N', 5, 4) : floats('N', 4, 5)],
      { transA, transB, alpha: 0.5 },
    ),
    opCase(
      'Gemm',
      [transA ? floats(4, 'N') : floats('N', 4), transB ? floats(5, 4) : floats(4, 5), floats(5)],
      { transA, transB, alpha: 0.5, beta: 2 },
    ),
  ]),
  opCase('com.microsoft.FusedMatMul', [x, floats(5, 4)], { transB: 1 }),
  opCase('Gemm', [floats('N', 4), irregular('float32', [5, 4], 6), irregular('float32', [5], 7)], {
    transB: 1,
  }),
  opCase('Gemm', [floats('N', 4), floats(4, 5), floats()]),
  opCase('com.microsoft.MultiHeadAttention', [x, floats('N', 5, 4), floats('N', 5, 4)], { num_heads: 2 }),
  opCase('Einsum', [x, floats(4, 5)], { equation: 'bij,jk->bik' }),
  opCase('Einsum', [floats('N', 3, 4), floats('N', 5, 4)], { equation: 'bid,bjd' }),
  opCase('Einsum', [floats('N', 2, 3, 4), floats(4, 1, 3)], { equation: '...ij,jhk->...hk' }),
  opCase('Einsum', [x, floats(4)], { equation: 'bij,j->bi' }),

  opCase('Conv', [floats('N', 2, 4, 6), floats(3, 2, 2, 3), floats(3)], { strides: [2, 3] }),
  opCase('Conv', [image, floats(3, 2, 3, 3)], { strides: [2, 2], pads: [1, 1, 1, 1] }),
  opCase('Conv', [image, floats(3, 2, 2, 2)], { pads: [0, 1, 1, 0] }),
  opCase('Conv', [image, floats(4, 1, 2, 2), floats(4)], { group: 2, dilations: [2, 2] }),
  opCase('Conv', [image, floats(3, 2, 2, 3)], { auto_pad: 'SAME_UPPER', strides: [2, 1] }),
  opCase('Conv', [floats('N', 2, 7), floats(3, 2, 3)], { strides: [2] }),

  opCase('ConvTranspose', [image, floats(2, 3, 2, 2), floats(3)], { strides: [2, 2] }),
  opCase('ConvTranspose', [image, floats(2, 2, 3, 2)], {
    group: 2,
    strides: [2, 1],
    dilations: [1, 2],
    pads: [1, 0, 0, 1],
    output_padding: [1, 0],
  }),
  opCase('ConvTranspose', [floats('N', 2, 5), floats(2, 1, 3)], { strides: [2], auto_pad: 'SAME_UPPER' }),

  opCase('ConvInteger', [typed('uint8', 'N', 2, 5, 6), irregular('int8', [3, 2, 3, 3], 10)], {
    strides: [2, 2],
  }),

  opCase('QuantizeLinear', [x, Tensor.scalar(0.02), uint8(100)]),
  opCase('DequantizeLinear', [weight, scales], { axis: 1 }),
  opCase('DequantizeLinear', [weight, Tensor.scalar(0.02), new Tensor('int8', [], Int8Array.of(3))]),
  opCase('DynamicQuantizeLinear', [x], {}, 3),
  opCase('com.microsoft.DynamicQuantizeMatMul', [x, weight, scales, undefined, irregular('float32', [5], 8)]),
  opCase('com.microsoft.DynamicQuantizeMatMul', [x, weight, Tensor.scalar(0.02)]),
  opCase(
    'com.microsoft.MatMulNBits',
    [floats('N', 3, 20), typed('uint8', 5, 2, 8), irregular('float32', [5, 2], 9)],
    { K: 20, N: 5, bits: 4, block_size: 16 },
  ),
  opCase('MatMulInteger', [typed('uint8', 'N', 3, 4), weight]),
  opCase('com.microsoft.MatMulIntegerToFloat', [
    typed('uint8', 'N', 3, 4),
    weight,
    Tensor.scalar(0.5),
    scales,
  ]),
  opCase('QLinearMatMul', [
    ...[typed('uint8', 'N', 3, 4), Tensor.scalar(0.5), uint8(3)],
    ...[weight, Tensor.scalar(0.5), new Tensor('int8', [], Int8Array.of(0))],
    ...[Tensor.scalar(0.5), uint8(3)],
  ]),
];
