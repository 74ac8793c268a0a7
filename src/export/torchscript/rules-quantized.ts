import { normalizeAxis } from '../../graph/dim.ts';
import type { Node, Value } from '../../graph/graph.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { Tensor } from '../../graph/tensor.ts';
import { leastScale } from '../../quantize/activation.ts';
import { matchQuantizedLayer } from '../../quantize/match-quantized.ts';
import type { QuantizedLayer } from '../../quantize/quantized-layer.ts';
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
  const [weight, weightScale] = [node.input(1), node.input(2)];
  const [weightZeroPoint, bias] = [node.inputs[3], node.inputs[4]];
  return linearDynamic(
    lower.tensor(node.input(0)),
    packLinear(node, { weight, weightScale, weightZeroPoint, bias }, lower),
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
export function quantizedLinear(layer: QuantizedLayer, lower: Lowering): Operand {
  const { scheme, reduceRange } = quantization(lower.graph) ?? {};
  if (scheme !== 'dynamic') return staticLinear(layer, lower);
  if (!reduceRange) {
    throw lower.unsupported(layer.product, 'PyTorch finds a range at run time in another way');
  }
  const packed = packLinear(layer.product, layer, lower);
  return linearDynamic(lower.tensor(layer.input), packed, lower, { reduceRange: true });
}

const matMulIntegerToFloat: LoweringRule<object> = (node, _args, lower) => {
  const layer = matchQuantizedLayer(lower.graph, node);
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
function staticLinear(layer: QuantizedLayer, lower: Lowering): Operand {
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
function boundedRows({ product, input, activation }: QuantizedLayer, lower: Lowering): Operand {
  const { quantized, scale, zeroPoint } = activation!;
  return lower.once(quantized, () => {
    const width = input.shape?.at(-1);
    const unit = scale.tensor?.size === 1 ? scale.tensor.floats[0]! : undefined;
    const [, first, last] = integerTypes[zeroPoint.dtype ?? ''] ?? [];
    const zero = zeroPoint.tensor?.integers[0];
    if (typeof width !== 'number' || unit === undefined || zero === undefined || first === undefined) {
      throw lower.unsupported(product, 'its activation has no constant scale and zero point of 8 bits');
    }
    const [low, high] = [Math.fround((first - zero) * unit), Math.fround((last! - zero) * unit)];
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
  readonly weightZeroPoint?: Value | undefined;
  readonly bias: Value | undefined;
}

/** PyTorch's weights are int8: uint8 ones, and their zero points, are moved by 128. */
function packLinear(
  node: Node,
  { weight, weightScale, weightZeroPoint, bias }: PackedParts,
  lower: Lowering,
): PackedLinear {
  const inEight = weight.dtype === 'int8' || weight.dtype === 'uint8';
  if (!inEight || !weight.tensor || weight.shape?.length !== 2) {
    throw lower.unsupported(node, `its weight ${weight.name} is no constant 8-bit matrix`);
  }
  if (weightZeroPoint && !weightZeroPoint.tensor) {
    throw lower.unsupported(node, `its zero point ${weightZeroPoint.name} is no constant`);
  }
  const scales = weightScale.tensor;
  if (!scales) throw lower.unsupported(node, `its scale ${weightScale.name} is no constant`);
  if (bias && !bias.tensor) throw lower.unsupported(node, `its bias ${bias.name} is no constant`);
  const dot = weight.name.lastIndexOf('.');
  const name = `${weight.name.slice(0, dot + 1)}_packed_params`;
  return lower.packed([weight, weightScale, bias], name, (unique) => {
    const turned = transposedMatrix(weight.tensor!);
    const moved = weight.dtype === 'uint8' ? 128 : 0;
    const given = weightZeroPoint?.tensor?.integers ?? [0];
    const zeros = Array.from(scales.floats, (_, i) => given[given.length === 1 ? 0 : i]! - moved);
    return new PackedLinear(unique, moved ? signed(turned) : turned, [...scales.floats], bias?.tensor, zeros);
  });
}

const signed = ({ shape, data }: Tensor): Tensor =>
  new Tensor('int8', shape, () => Int8Array.from(data as Uint8Array, (number) => number - 128));

/** Whole numbers of 8 bits: PyTorch's number of the type, and its ends. */
const integerTypes: Record<string, readonly [type: number, low: number, high: number]> = {
  uint8: [0, 0, 255],
  int8: [1, -128, 127],
};

const asType = (operand: Operand, type: number, lower: Lowering): Operand =>
  lower.call('aten::to.dtype', [operand, int(type), bool(false), bool(false)]);
const asFloat = (operand: Operand, lower: Lowering): Operand => asType(operand, 6, lower);

/** `clamp(round(x / scale) + zeroPoint)`: quantized tensors of PyTorch's own are on their way out of it. */
function quantized(
  node: Node,
  x: Operand,
  scale: Operand,
  zeroPoint: Operand | undefined,
  lower: Lowering,
): Operand {
  const [type, low, high] = integerTypes[node.output().dtype ?? ''] ?? [];
  if (type === undefined) throw lower.unsupported(node, `${node.output().dtype} is no type of 8 bits`);
  const steps = lower.call('aten::round', [lower.call('aten::div.Tensor', [x, scale])]);
  const moved = zeroPoint ? lower.call('aten::add.Tensor', [steps, asFloat(zeroPoint, lower)]) : steps;
  return asType(lower.call('aten::clamp', [moved, float(low!), float(high!)]), type, lower);
}

/** Scales and zero points of the last axis, or one for all, are what a product with a tensor takes by itself. */
function checkLastAxis(
  node: Node,
  { axis, block_size }: Pick<OpArguments['DequantizeLinear'], 'axis' | 'block_size'>,
  lower: Lowering,
): void {
  const rank = lower.rank(node, node.input(0));
  if (node.input(1).shape?.length && normalizeAxis(axis, rank) !== rank - 1) {
    throw lower.unsupported(node, 'scales along an axis that is not the last are not lowered');
  }
  if (block_size) throw lower.unsupported(node, 'scales of blocks are not lowered');
}

const quantizeLinear: LoweringRule<OpArguments['QuantizeLinear']> = (node, args, lower) => {
  checkLastAxis(node, args, lower);
  const [x, scale, zero] = node.inputs;
  return quantized(node, lower.tensor(x!), lower.tensor(scale!), zero && lower.tensor(zero), lower);
};

/**
 * An activation with a range that is found at run time: scale = (max(x, 0) - min(x, 0)) / 255, and the zero point is
 * where 0 falls.
 */
const dynamicQuantizeLinear: LoweringRule<object> = (node, _args, lower) => {
  const x = lower.tensor(node.input(0));
  const low = lower.call('aten::clamp_max', [lower.call('aten::min', [x]), float(0)]);
  const high = lower.call('aten::clamp_min', [lower.call('aten::max', [x]), float(0)]);
  const steps = lower.call('aten::div.Scalar', [lower.call('aten::sub.Tensor', [high, low]), float(255)]);
  const scale = lower.call('aten::clamp_min', [steps, float(leastScale)]);
  const below = lower.call('aten::div.Tensor', [lower.call('aten::neg', [low]), scale]);
  const zeroPoint = asType(lower.call('aten::round', [below]), integerTypes.uint8![0], lower);
  return [quantized(node, x, scale, zeroPoint, lower), scale, zeroPoint];
};

/** Constant scales for the places along the first axis, and zero points, as they meet the tensor; undefined: they lie otherwise. */
function ofRows(
  node: Node,
  axis: number,
  lower: Lowering,
): { scale: Operand; zero: Operand | undefined } | undefined {
  const [input, scale, zero] = node.inputs;
  const rank = lower.rank(node, input!);
  if (!scale?.tensor || scale.shape?.length !== 1 || normalizeAxis(axis, rank) !== 0 || rank === 1)
    return undefined;
  if (zero && zero.tensor?.size !== scale.tensor.size) return undefined;
  const column = (name: string, numbers: ArrayLike<number>): Operand => {
    const shape = [numbers.length, ...Array.from({ length: rank - 1 }, () => 1)];
    return lower.weight(`${name}_column`, Tensor.float32(shape, Float32Array.from(numbers)));
  };
  return {
    scale: column(scale.name, scale.tensor.floats),
    zero: zero && column(zero.name, zero.tensor!.integers),
  };
}

const dequantizeLinear: LoweringRule<OpArguments['DequantizeLinear']> = (node, args, lower) => {
  const [input, scale, zero] = node.inputs;
  const rows = args.block_size ? undefined : ofRows(node, args.axis, lower);
  if (!rows) checkLastAxis(node, args, lower);
  const numbers = asFloat(lower.tensor(input!), lower);
  if (rows) {
    const centred = rows.zero ? lower.call('aten::sub.Tensor', [numbers, rows.zero]) : numbers;
    return lower.call('aten::mul.Tensor', [centred, rows.scale]);
  }
  const shifted = zero
    ? lower.call('aten::sub.Tensor', [numbers, asFloat(lower.tensor(zero), lower)])
    : numbers;
  return lower.call('aten::mul.Tensor', [shifted, lower.tensor(scale!)]);
};

/** int8 layers of both schemes, and quantization by itself. */
export const quantizedRules = {
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
  'com.microsoft.MatMulIntegerToFloat': matMulIntegerToFloat,
  QuantizeLinear: quantizeLinear,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
  DequantizeLinear: dequantizeLinear,
} satisfies LoweringRules;
