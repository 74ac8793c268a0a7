import type { Node } from '../../graph/graph.ts';
import { type Linear, matchLinear } from '../../graph/linear.ts';
import { matchQuantizedLinear } from '../../quantize/quantized-linear.ts';
import type { Lowering, LoweringRule } from './lowering.ts';
import { float, int, ints, none, type Operand, string } from './program.ts';
import { staticLinear } from './rules-quantized.ts';
import { windowPads } from './window.ts';

/** A Linear as one call, with its bias when asked for. */
function linear({ input, weight, layout, bias }: Linear, lower: Lowering, withBias: boolean): Operand {
  const stored = lower.tensor(weight);
  const rows = layout === 'out,in' ? stored : lower.call('aten::t', [stored]);
  return lower.call('aten::linear', [lower.tensor(input), rows, withBias ? lower.optional(bias) : none]);
}

/** The Linear whose bias this Add adds, as one call; undefined when it is another kind of Add. */
export function biasedLinear(node: Node, lower: Lowering): Operand | undefined {
  for (const input of [node.input(0), node.input(1)]) {
    const found = input.producer && matchLinear(lower.graph, input.producer);
    if (found?.bias && found.output === node.output()) return linear(found, lower, true);
    const int8 = input.producer && matchQuantizedLinear(lower.graph, input.producer);
    if (int8?.bias && int8.output === node.output()) return lower.tensor(input);
  }
  return undefined;
}

const matMul: LoweringRule = (node, lower) => {
  const found = matchLinear(lower.graph, node);
  if (found) return linear(found, lower, false);
  const int8 = matchQuantizedLinear(lower.graph, node);
  if (int8) return staticLinear(int8, lower);
  return lower.call('aten::matmul', [lower.tensor(node.input(0)), lower.tensor(node.input(1))]);
};

const swapped = (lower: Lowering, x: Operand, swap: boolean): Operand =>
  swap ? lower.call('aten::transpose.int', [x, int(-2), int(-1)]) : x;

const scaled = (lower: Lowering, x: Operand, factor: number): Operand =>
  factor === 1 ? x : lower.call('aten::mul.Scalar', [x, float(factor)]);

/** alpha * op(A) op(B), op a transposition of the last two axes or nothing. */
const fusedMatMul: LoweringRule = (node, lower) => {
  if (node.int('transBatchA', 0) || node.int('transBatchB', 0)) {
    throw lower.unsupported(node, 'transposed batch axes are not lowered');
  }
  const a = swapped(lower, lower.tensor(node.input(0)), node.int('transA', 0) === 1);
  const b = swapped(lower, lower.tensor(node.input(1)), node.int('transB', 0) === 1);
  return scaled(lower, lower.call('aten::matmul', [a, b]), node.float('alpha', 1));
};

const gemm: LoweringRule = (node, lower) => {
  const found = matchLinear(lower.graph, node);
  if (found) return linear(found, lower, true);
  const a = swapped(lower, lower.tensor(node.input(0)), node.int('transA', 0) === 1);
  const b = swapped(lower, lower.tensor(node.input(1)), node.int('transB', 0) === 1);
  const product = scaled(lower, lower.call('aten::matmul', [a, b]), node.float('alpha', 1));
  const addend = node.inputs[2];
  if (!addend) return product;
  return lower.call('aten::add.Tensor', [
    product,
    scaled(lower, lower.tensor(addend), node.float('beta', 1)),
  ]);
};

const convolutions = ['aten::conv1d', 'aten::conv2d', 'aten::conv3d'];

const convolution: LoweringRule = (node, lower) => {
  const spatial = lower.rank(node, node.input(1)) - 2;
  const operator = convolutions[spatial - 1];
  if (!operator) throw lower.unsupported(node, `a convolution over ${spatial} axes is not lowered`);
  const kernel = node.input(1).staticShape.slice(2);
  const { symmetric, explicit } = windowPads(node, kernel, lower);
  let x = lower.tensor(node.input(0));
  if (explicit) x = lower.call('aten::constant_pad_nd', [x, ints(explicit), float(0)]);
  const ones = kernel.map(() => 1);
  return lower.call(operator, [
    x,
    lower.tensor(node.input(1)),
    lower.optional(node.inputs[2]),
    ints(node.ints('strides', ones)),
    ints(symmetric),
    ints(node.ints('dilations', ones)),
    int(node.int('group', 1)),
  ]);
};

const einsum: LoweringRule = (node, lower) => {
  const operands = node.inputs.map((_, i) => lower.tensor(node.input(i)));
  return lower.call('aten::einsum', [
    string(node.string('equation')),
    { kind: 'list', element: 'Tensor', items: operands },
  ]);
};

/** Products of matrices and convolutions. */
export const linearRules: Record<string, LoweringRule> = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
  Conv: convolution,
  'com.microsoft.FusedMatMul': fusedMatMul,
};
