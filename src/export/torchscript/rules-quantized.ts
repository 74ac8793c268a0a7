import { normalizeAxis } from '../../graph/dim.ts';
import type { Node, Value } from '../../graph/graph.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { Tensor } from '../../graph/tensor.ts';
import { matchQuantizedLinear, type QuantizedLinear } from '../../quantize/quantized-linear.ts';
import { quantization } from '../../quantize/record.ts';
import { transposedMatrix } from '../transposed-matrix.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { bool, float, int, intList, ints, type Operand, PackedLinear, tensors } from './program.ts';
import { axisLength } from './rules-layout.ts';

/**
 * Weights int8 [in, out] (`blocks.0.attn.qkv.weight` as `blocks.0.attn.qkv._packed_params`) are packed
 * as PyTorch's dynamically quantized Linear, which holds them as [out, in]; activations use 8 bits.
 */
const dynamicQuantizeMatMul: LoweringRule<object> = (node, _args, lower) => {
  const [weight, weightScale, zeroPoint, bias] = [
    node.input(1),
    node.input(2),
    node.inputs[3],
    node.inputs[4],
  ];
  if (zeroPoint && !zeroPoint.tensor?.integers.every((zero) => zero === 0)) {
    throw lower.unsupported(node, `its weight ${weight.name} has a zero point that is not 0`);
  }
  return linearDynamic(
    lower.tensor(node.input(0)),
    packLinear(node, { weight, weightScale, bias }, lower),
    lower,
  );
};

function linearDynamic(
  x: Operand,
  packed: PackedLinear,
  lower: Lowering,
  { reduceRange = false } = {},
): Operand {
  return lower.call('quantized::linear_dynamic', [x, packed, bool(reduceRange)]);
}

/** An int8 layer on quantized activations: of a range known beforehand, or of 7 bits found at run time. */
export function quantizedLinear(layer: QuantizedLinear, lower: Lowering): Operand {
  const { scheme, reduceRange } = quantization(lower.graph) ?? {};
  if (scheme !== 'dynamic') return staticLinear(layer, lower);
  if (!reduceRange) {
    throw lower.unsupported(layer.product, 'PyTorch finds a range at run time in another way');
  }
  const packed = packLinear(layer.product, layer, lower);
  return linearDynamic(lower.tensor(layer.input), packed, lower, { reduceRange: true });
}

const matMulIntegerToFloat: LoweringRule<object> = (node, _args, lower) => {
  const layer = matchQuantizedLinear(lower.graph, node);
  if (!layer) throw lower.unsupported(node, 'only int8 layers on activations of QuantizeLinear are lowered');
  return quantizedLinear(layer, lower);
};

/**
 * A Linear whose activation range is known beforehand. PyTorch's operators with such a range either
 * round their results to 8 bits as well or exist for some engines only; its dynamic one takes the range
 * from the numbers it is given. So it is given the calibrated range: numbers are clamped to it, and two
 * rows below them, cut off again behind the product, hold its ends. What is computed then are the
 * integers of `QuantizeLinear`, saturation included, under every engine and release, in float32.
 */
function staticLinear(layer: QuantizedLinear, lower: Lowering): Operand {
  const { product, input } = layer;
  const packed = packLinear(product, layer, lower);
  const rows = linearDynamic(boundedRows(layer, lower), packed, lower);
  const kept = lower.call('aten::slice.Tensor', [rows, int(0), int(0), int(-2), int(1)]);
  const leading = Array.from({ length: lower.rank(product, input) - 1 }, (_, i) => i);
  if (leading.length === 1) return kept;
  const open = leading.filter((i) => typeof input.shape![i] !== 'number');
  const lengths = leading.map((i) =>
    open.length === 1 && i === open[0] ? int(-1) : axisLength(input, i, lower),
  );
  return lower.call('aten::reshape', [kept, intList([...lengths, int(packed.weight.shape[0]!)])]);
}

/** The layer's input as a matrix, clamped to its range, with the ends of the range below it. */
function boundedRows({ product, input, activation }: QuantizedLinear, lower: Lowering): Operand {
  const { quantized, scale, zeroPoint } = activation!;
  return lower.once(quantized, () => {
    const width = input.shape?.at(-1);
    const unit = scale.tensor?.size === 1 ? scale.tensor.floats[0]! : undefined;
    const zero = zeroPoint.dtype === 'uint8' ? zeroPoint.tensor?.integers[0] : undefined;
    if (typeof width !== 'number' || unit === undefined || zero === undefined) {
      throw lower.unsupported(product, 'its activation has no constant uint8 scale and zero point');
    }
    const [low, high] = [Math.fround(-zero * unit), Math.fround((255 - zero) * unit)];
    const ends = lower.weight(`${quantized.name}_range`, Tensor.float32([2, 1], [low, high]));
    const x = lower.tensor(input);
    const matrix = input.shape!.length === 2 ? x : lower.call('aten::reshape', [x, ints([-1, width])]);
    const clamped = lower.call('aten::clamp', [matrix, float(low), float(high)]);
    const below = lower.call('aten::expand', [ends, ints([2, width])]);
    return lower.call('aten::cat', [tensors([clamped, below]), int(0)]);
  });
}

interface PackedParts {
  readonly weight: Value;
  readonly weightScale: Value;
  readonly bias: Value | undefined;
}

function packLinear(node: Node, { weight, weightScale, bias }: PackedParts, lower: Lowering): PackedLinear {
  if (weight.dtype !== 'int8' || !weight.tensor || weight.shape?.length !== 2) {
    throw lower.unsupported(node, `its weight ${weight.name} is no constant int8 matrix`);
  }
  const scales = weightScale.tensor;
  if (!scales) throw lower.unsupported(node, `its scale ${weightScale.name} is no constant`);
  if (bias && !bias.tensor) throw lower.unsupported(node, `its bias ${bias.name} is no constant`);
  const dot = weight.name.lastIndexOf('.');
  const name = `${weight.name.slice(0, dot + 1)}_packed_params`;
  return lower.packed([weight, weightScale, bias], name, (unique) => {
    return new PackedLinear(unique, transposedMatrix(weight.tensor!), [...scales.floats], bias?.tensor);
  });
}

/** PyTorch's numbers for the element types of quantized tensors. */
const quantizedTypes: Record<string, number> = { int8: 12, uint8: 13 };

/** One scale and zero point, constant; 0 where there is no zero point. */
function perTensor(node: Node, lower: Lowering): { scale: number; zeroPoint: number } {
  const scale = node.input(1).tensor;
  const zeroPoint = node.inputs[2];
  if (scale?.size !== 1 || (zeroPoint && !zeroPoint.tensor)) {
    throw lower.unsupported(node, 'only a constant scale and zero point for the whole tensor are lowered');
  }
  return { scale: scale.floats[0]!, zeroPoint: zeroPoint?.tensor?.integers[0] ?? 0 };
}

/** Quantized tensors carry scale and zero point along, which `aten::dequantize` reads. */
const quantizeLinear: LoweringRule<object> = (node, _args, lower) => {
  const dtype = quantizedTypes[node.output().dtype ?? ''];
  if (dtype === undefined)
    throw lower.unsupported(node, `${node.output().dtype} is no type PyTorch quantizes to`);
  const [unit, zero] = [node.input(1), node.inputs[2]];
  if (unit.shape?.length === 0 && !unit.isConstant && zero) {
    const parameters = [lower.tensor(unit), lower.tensor(zero), int(dtype)];
    return lower.call('aten::quantize_per_tensor.tensor_qparams', [
      lower.tensor(node.input(0)),
      ...parameters,
    ]);
  }
  const { scale, zeroPoint } = perTensor(node, lower);
  const args = [lower.tensor(node.input(0)), float(scale), int(zeroPoint), int(dtype)];
  return lower.call('aten::quantize_per_tensor', args);
};

const dequantizeLinear: LoweringRule<OpArguments['DequantizeLinear']> = (node, args, lower) => {
  const [input, scale] = [node.input(0), node.input(1)];
  if (input.producer?.op === 'QuantizeLinear') {
    const { producer } = input;
    if (producer.inputs[1] !== scale || producer.inputs[2] !== node.inputs[2]) {
      throw lower.unsupported(node, 'its scale is not the one its input was quantized with');
    }
    return lower.call('aten::dequantize.self', [lower.tensor(input)]);
  }
  const zeroPoint = node.inputs[2];
  const rank = lower.rank(node, input);
  if (scale.shape?.length && normalizeAxis(args.axis, rank) !== rank - 1) {
    throw lower.unsupported(node, 'scales along an axis that is not the last are not lowered');
  }
  if (args.block_size) throw lower.unsupported(node, 'scales of blocks are not lowered');
  const toFloat = (value: Value): Operand =>
    lower.call('aten::to.dtype', [lower.tensor(value), int(6), bool(false), bool(false)]);
  const shifted = zeroPoint
    ? lower.call('aten::sub.Tensor', [toFloat(input), toFloat(zeroPoint)])
    : toFloat(input);
  return lower.call('aten::mul.Tensor', [shifted, lower.tensor(scale)]);
};

/** int8 layers of both schemes, and quantization by itself. */
export const quantizedRules = {
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
  'com.microsoft.MatMulIntegerToFloat': matMulIntegerToFloat,
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
} satisfies LoweringRules;
