import type { Node } from '../../graph/graph.ts';
import { type Linear, matchLinear } from '../../graph/linear.ts';
import { Tensor } from '../../graph/tensor.ts';
import { quantization } from '../../quantize/record.ts';
import type { Lowering, LoweringRule } from './lowering.ts';
import { bool, float, int, ints, none, type Operand, PackedLinear, string } from './program.ts';
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
  }
  return undefined;
}

const matMul: LoweringRule = (node, lower) => {
  const found = matchLinear(lower.graph, node);
  if (found) return linear(found, lower, false);
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

/**
 * Weights int8 [in, out] (`blocks.0.attn.qkv.weight` as `blocks.0.attn.qkv._packed_params`) are packed as PyTorch's dynamically quantized Linear, which holds them as
 * [out, in]; whether activations use 7 or 8 bits is what the backend of the quantization says.
 */
const dynamicQuantizeMatMul: LoweringRule = (node, lower) => {
  const packed = packLinear(node, lower);
  return lower.call('quantized::linear_dynamic', [
    lower.tensor(node.input(0)),
    packed,
    bool(reducesRange(lower)),
  ]);
};

function packLinear(node: Node, lower: Lowering): PackedLinear {
  const [weight, scale] = [node.input(1), node.input(2)];
  const zeroPoint = node.inputs[3];
  const bias = node.inputs[4];
  if (weight.dtype !== 'int8' || !weight.tensor || weight.shape?.length !== 2) {
    throw lower.unsupported(node, `its weight ${weight.name} is no constant int8 matrix`);
  }
  if (!scale.tensor) throw lower.unsupported(node, `its scale ${scale.name} is no constant`);
  if (zeroPoint && !zeroPoint.tensor?.integers.every((zero) => zero === 0)) {
    throw lower.unsupported(node, `its weight ${weight.name} has a zero point that is not 0`);
  }
  if (bias && !bias.tensor) throw lower.unsupported(node, `its bias ${bias.name} is no constant`);
  const dot = weight.name.lastIndexOf('.');
  const name = `${weight.name.slice(0, dot + 1)}_packed_params`;
  return lower.packed(weight, bias, name, (unique) => {
    return new PackedLinear(unique, transposed(weight.tensor!), [...scale.tensor!.floats], bias?.tensor);
  });
}

/** PyTorch's own layers say true, which is also the safe answer where nobody recorded one. */
const reducesRange = (lower: Lowering): boolean => quantization(lower.graph)?.reduceRange ?? true;

/** An int8 matrix with its axes swapped, when it is read; in square tiles that stay in the cache. */
function transposed(matrix: Tensor): Tensor {
  const [rows, columns] = matrix.shape as [number, number];
  const tile = 64;
  return new Tensor('int8', [columns, rows], () => {
    const from = matrix.data as Int8Array;
    const to = new Int8Array(from.length);
    for (let top = 0; top < rows; top += tile) {
      const bottom = Math.min(top + tile, rows);
      for (let left = 0; left < columns; left += tile) {
        const right = Math.min(left + tile, columns);
        for (let c = left; c < right; c++) {
          for (let r = top; r < bottom; r++) to[c * rows + r] = from[r * columns + c]!;
        }
      }
    }
    matrix.release();
    return to;
  });
}

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

/** Products of matrices, convolutions, and their int8 forms. */
export const linearRules: Record<string, LoweringRule> = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
  Conv: convolution,
  'com.microsoft.FusedMatMul': fusedMatMul,
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
};
