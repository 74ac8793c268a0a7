import type { Node } from '../../graph/graph.ts';
import { type Linear, matchLinear } from '../../graph/linear.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { transposedPadding, windowOf } from '../../graph/schema/window.ts';
import { matchQuantizedLayer } from '../../quantize/match-quantized.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { float, int, ints, none, type Operand, string } from './program.ts';
import { quantizedLinear } from './rules-quantized.ts';
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
    const int8 = input.producer && matchQuantizedLayer(lower.graph, input.producer);
    if (int8?.bias && int8.output === node.output()) return lower.tensor(input);
  }
  return undefined;
}

const matMul: LoweringRule<object> = (node, _args, lower) => {
  const found = matchLinear(lower.graph, node);
  if (found) return linear(found, lower, false);
  const int8 = matchQuantizedLayer(lower.graph, node);
  if (int8) return quantizedLinear(int8, lower);
  return lower.call('aten::matmul', [lower.tensor(node.input(0)), lower.tensor(node.input(1))]);
};

const swapped = (lower: Lowering, x: Operand, swap: boolean): Operand =>
  swap ? lower.call('aten::transpose.int', [x, int(-2), int(-1)]) : x;

const scaled = (lower: Lowering, x: Operand, factor: number): Operand =>
  factor === 1 ? x : lower.call('aten::mul.Scalar', [x, float(factor)]);

/** alpha * op(A) op(B), op a transposition of the last two axes or nothing. */
const product = (
  node: Node,
  { alpha, transA, transB }: Pick<OpArguments['Gemm'], 'alpha' | 'transA' | 'transB'>,
  lower: Lowering,
): Operand => {
  const a = swapped(lower, lower.tensor(node.input(0)), transA === 1);
  const b = swapped(lower, lower.tensor(node.input(1)), transB === 1);
  return scaled(lower, lower.call('aten::matmul', [a, b]), alpha);
};

const fusedMatMul: LoweringRule<OpArguments['com.microsoft.FusedMatMul']> = (node, args, lower) => {
  if (args.transBatchA || args.transBatchB) {
    throw lower.unsupported(node, 'transposed batch axes are not lowered');
  }
  return product(node, args, lower);
};

const gemm: LoweringRule<OpArguments['Gemm']> = (node, args, lower) => {
  const found = matchLinear(lower.graph, node);
  if (found) return linear(found, lower, true);
  const result = product(node, args, lower);
  const addend = node.inputs[2];
  if (!addend) return result;
  return lower.call('aten::add.Tensor', [result, scaled(lower, lower.tensor(addend), args.beta)]);
};

const convolutions = ['aten::conv1d', 'aten::conv2d', 'aten::conv3d'];

const convolution: LoweringRule<OpArguments['Conv']> = (node, args, lower) => {
  const spatial = lower.rank(node, node.input(1)) - 2;
  const operator = convolutions[spatial - 1];
  if (!operator) throw lower.unsupported(node, `a convolution over ${spatial} axes is not lowered`);
  const kernel = node.input(1).staticShape.slice(2);
  const window = windowOf(node, args, kernel);
  const { symmetric, explicit } = windowPads(node, window, lower);
  let x = lower.tensor(node.input(0));
  if (explicit) x = lower.call('aten::constant_pad_nd', [x, ints(explicit), float(0)]);
  return lower.call(operator, [
    x,
    lower.tensor(node.input(1)),
    lower.optional(node.inputs[2]),
    ints(window.strides),
    ints(symmetric),
    ints(window.dilations),
    int(args.group),
  ]);
};

const transposedConvolution: LoweringRule<OpArguments['ConvTranspose']> = (node, args, lower) => {
  const weight = node.input(1);
  const kernel = weight.staticShape.slice(2);
  const padding = transposedPadding(node, args, kernel);
  if (kernel.length !== 2 || !padding) {
    throw lower.unsupported(node, 'only transposed convolutions of images of known size are lowered');
  }
  const strides = args.strides ?? kernel.map(() => 1);
  const dilations = args.dilations ?? kernel.map(() => 1);
  const convolved = (pads: readonly number[], extra: readonly number[]) =>
    lower.call('aten::conv_transpose2d.input', [
      lower.tensor(node.input(0)),
      lower.tensor(weight),
      lower.optional(node.inputs[2]),
      ints(strides),
      ints(pads),
      ints(extra),
      int(args.group),
      ints(dilations),
    ]);
  // Output padding is what is cut off at the end less than at the beginning; more is cut off afterwards.
  const befores = padding.map(({ before }) => before);
  const extra = padding.map(({ before, length }, i) => {
    const from = node.input(0).shape![i + 2] as number;
    return length - (strides[i]! * (from - 1) + (kernel[i]! - 1) * dilations[i]! + 1 - 2 * before);
  });
  if (extra.every((length) => length >= 0)) return convolved(befores, extra);
  const none = kernel.map(() => 0);
  return padding.reduce<Operand>(
    (x, { before, length }, i) => {
      const bounds = [int(i + 2), int(before), int(before + length), int(1)];
      return lower.call('aten::slice.Tensor', [x, ...bounds]);
    },
    convolved(none, args.output_padding ?? none),
  );
};

const einsum: LoweringRule<OpArguments['Einsum']> = (node, { equation }, lower) => {
  const operands = node.inputs.map((_, i) => lower.tensor(node.input(i)));
  return lower.call('aten::einsum', [string(equation), { kind: 'list', element: 'Tensor', items: operands }]);
};

/** Products of matrices and convolutions. */
export const linearRules = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  'com.microsoft.FusedMatMul': fusedMatMul,
} satisfies LoweringRules;
