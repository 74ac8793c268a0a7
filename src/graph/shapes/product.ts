import { broadcastShapes } from '../dim.ts';
import { einsumLabels, einsumLengths } from '../schema/einsum.ts';
import { type OpArguments, rowsFor } from '../schema/signature.ts';
import { transposedPadding, windowOf } from '../schema/window.ts';
import type { DataType } from '../tensor.ts';
import type { Dim, Node, Shape } from '../types.ts';
import { dtypeOf, type Inferred, type ShapeRules, shaped, shapeOf, symbol } from './rule.ts';

/** The shape of a matrix product with numpy batch broadcasting. */
function matMulShape(a: Shape, b: Shape): Shape {
  if (a.length === 0 || b.length === 0) throw new Error('a matrix product of a scalar');
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  const inner = left[left.length - 1]!;
  const other = right[right.length - 2]!;
  if (typeof inner === 'number' && typeof other === 'number' && inner !== other) {
    throw new Error(`inner dimensions ${inner} and ${other} differ`);
  }
  const shape = [...broadcastShapes(left.slice(0, -2), right.slice(0, -2))];
  if (a.length > 1) shape.push(left[left.length - 2]!);
  if (b.length > 1) shape.push(right[right.length - 1]!);
  return shape;
}

const swapLast = (shape: Shape): Shape =>
  shape.length > 1 ? [...shape.slice(0, -2), shape[shape.length - 1]!, shape[shape.length - 2]!] : shape;

const productShape = (a: Shape | undefined, b: Shape | undefined) => a && b && matMulShape(a, b);

/** A product whose operands are inputs 0 and 1. */
const product =
  (dtype?: DataType) =>
  (node: Node): readonly Inferred[] => [
    { dtype: dtype ?? dtypeOf(node, 0), shape: productShape(shapeOf(node, 0), shapeOf(node, 1)) },
  ];

/** A product that may take its operands with their last axes swapped. */
const transposable = (node: Node, { transA, transB }: OpArguments['Gemm']) => {
  const [a, b] = [shapeOf(node, 0), shapeOf(node, 1)];
  if (!a || !b) return shaped(node, undefined);
  return shaped(node, matMulShape(transA ? swapLast(a) : a, transB ? swapLast(b) : b));
};

/** With `transBatchA` the first axis of an operand stands before its last. */
const fusedProduct = (node: Node, args: OpArguments['com.microsoft.FusedMatMul']) => {
  const [a, b] = [shapeOf(node, 0), shapeOf(node, 1)];
  if (!a || !b) return shaped(node, undefined);
  const turned = (shape: Shape, last: number, batch: number) => {
    const moved = batch ? [...shape.slice(1, -1), shape[0]!, shape.at(-1)!] : shape;
    return last ? swapLast(moved) : moved;
  };
  return shaped(
    node,
    matMulShape(turned(a, args.transA, args.transBatchA), turned(b, args.transB, args.transBatchB)),
  );
};

type Windowed = OpArguments['Conv' | 'ConvInteger' | 'MaxPool' | 'AveragePool'];

/** What a window makes of the input's spatial axes. */
function windowed(node: Node, args: Windowed, kernel: readonly number[], channels: Dim): Shape | undefined {
  const input = shapeOf(node, 0);
  if (!input) return undefined;
  const { strides, dilations, pads, same } = windowOf(node, args, kernel);
  const round = 'ceil_mode' in args && args.ceil_mode === 1 ? Math.ceil : Math.floor;
  const spatial = input.slice(2).map((dim, i): Dim => {
    if (typeof dim === 'string') return symbol(node, i);
    const reach = (kernel[i]! - 1) * dilations[i]! + 1;
    if (same) return Math.ceil(dim / strides[i]!);
    const { before, after } = pads[i]!;
    const length = round((dim + before + after - reach) / strides[i]!) + 1;
    if (length < 1) throw new Error(`a window of ${reach} does not fit an axis of ${dim}`);
    return length;
  });
  return [input[0]!, channels, ...spatial];
}

const convolution = (node: Node, args: OpArguments['Conv' | 'ConvInteger']) => {
  const [input, weight] = [shapeOf(node, 0), shapeOf(node, 1)];
  if (!weight || !input) return shaped(node, undefined);
  const perGroup = weight[1]!;
  const channels = input[1]!;
  if (typeof channels === 'number' && typeof perGroup === 'number' && channels !== perGroup * args.group) {
    throw new Error(`${channels} channels, but the weight is made for ${perGroup * args.group}`);
  }
  return shaped(node, windowed(node, args, weight.slice(2) as number[], weight[0]!));
};

const transposedConvolution = (node: Node, args: OpArguments['ConvTranspose']) => {
  const [input, weight] = [shapeOf(node, 0), shapeOf(node, 1)];
  if (!weight || !input) return shaped(node, undefined);
  const perGroup = weight[1]!;
  const channels = typeof perGroup === 'number' ? perGroup * args.group : symbol(node, 1);
  const spatial = transposedPadding(node, args, weight.slice(2) as number[])?.map(({ length }) => length);
  return shaped(node, [
    input[0]!,
    channels,
    ...(spatial ?? input.slice(2).map((_, i) => symbol(node, i + 2))),
  ]);
};

const einsum = (node: Node, args: OpArguments['Einsum']) => {
  const labels = einsumLabels(node, args);
  if (!labels) return shaped(node, undefined);
  const lengths = einsumLengths(
    labels,
    node.inputs.map((input) => input!.shape!),
  );
  return shaped(
    node,
    labels.output.map((label) => lengths.get(label)!),
  );
};

const pooling = (node: Node, args: OpArguments['MaxPool' | 'AveragePool']): readonly Inferred[] => {
  const shape = windowed(node, args, args.kernel_shape, shapeOf(node, 0)?.[1] ?? '?');
  return [
    { dtype: dtypeOf(node, 0), shape },
    { dtype: 'int64', shape },
  ];
};

/** Products of matrices, convolutions, pooling. */
export const productShapes = {
  MatMul: product(),
  'com.microsoft.FusedMatMul': fusedProduct,
  Gemm: transposable,
  MatMulInteger: product('int32'),
  'com.microsoft.MatMulIntegerToFloat': product('float32'),
  'com.microsoft.DynamicQuantizeMatMul': product('float32'),
  'com.microsoft.MatMulNBits': (node, { N }) => {
    const rows = shapeOf(node, 0)?.slice(0, -1);
    return [{ dtype: dtypeOf(node, 0), shape: rows && [...rows, N] }];
  },
  QLinearMatMul: (node) => [
    { dtype: dtypeOf(node, 7), shape: productShape(shapeOf(node, 0), shapeOf(node, 3)) },
  ],
  Conv: convolution,
  ConvInteger: (node, args) => [{ dtype: 'int32', shape: convolution(node, args)[0]!.shape }],
  ConvTranspose: transposedConvolution,
  Einsum: einsum,
  ...rowsFor('MaxPool AveragePool', pooling),
  ...rowsFor('GlobalAveragePool GlobalMaxPool', (node: Node) =>
    shaped(
      node,
      shapeOf(node, 0)?.map((dim, i) => (i < 2 ? dim : 1)),
    ),
  ),
  'com.microsoft.MultiHeadAttention': (node) => {
    const query = shapeOf(node, 0);
    const value = shapeOf(node, 2);
    return shaped(node, query && value?.length === 3 ? [query[0]!, query[1]!, value[2]!] : undefined);
  },
} satisfies ShapeRules;
