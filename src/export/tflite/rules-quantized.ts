import type { Node, Value } from '../../graph/graph.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { Tensor } from '../../graph/tensor.ts';
import { leastScale } from '../../quantize/activation.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import type { FileTensor } from './program.ts';

/** What a file stores as int8, each place along an axis with a scale of its own. */
export interface Stored {
  readonly name: string;
  readonly tensor: Tensor;
  readonly scales: Float32Array;
  readonly axis: number;
  /** As many as scales; undefined: all 0. */
  readonly zeroPoints: readonly number[] | undefined;
}

/**
 * Constant integers with their scales as LiteRT has them: int8, uint8 ones moved by 128.
 * @returns a reason where they can't be
 */
export function storedNumbers(
  weight: Value,
  scale: Value,
  zeroPoint: Value | undefined,
  axis: number,
): Stored | string {
  const { name, tensor } = weight;
  if (!tensor || !scale.tensor || (tensor.dtype !== 'int8' && tensor.dtype !== 'uint8'))
    return `its weight ${name} is no constant of 8 bits`;
  const moved = tensor.dtype === 'uint8' ? 128 : 0;
  if (zeroPoint && !zeroPoint.tensor) return `its zero point ${zeroPoint.name} is no constant`;
  const at = axis < 0 ? axis + tensor.shape.length : axis;
  const length = tensor.shape[at] ?? 1;
  const given = scale.tensor.floats;
  if (given.length !== 1 && given.length !== length) return `its scales ${scale.name} are not along an axis`;
  const scales = given.length === 1 ? new Float32Array(length).fill(given[0]!) : given;
  const zeros = zeroPoint?.tensor?.integers ?? [0];
  const zeroPoints = Array.from(scales, (_, i) => zeros[zeros.length === 1 ? 0 : i]! - moved);
  const around0 = zeroPoints.every((zero) => zero === 0);
  return {
    ...{ name, tensor: moved ? signed(tensor) : tensor, scales, axis: at },
    zeroPoints: around0 ? undefined : zeroPoints,
  };
}

const signed = (source: Tensor): Tensor =>
  new Tensor('int8', source.shape, () => Int8Array.from(source.data as Uint8Array, (number) => number - 128));

/** What a `DequantizeLinear` widens, where that is a constant; a reason where it can't be stored. */
export function storedBehind(value: Value, axis: number): Stored | string | undefined {
  const { producer } = value;
  if (producer?.op !== 'DequantizeLinear' || !producer.input(0).isConstant) return undefined;
  return storedNumbers(producer.input(0), producer.input(1), producer.inputs[2], axis);
}

/**
 * int8 numbers in float32: LiteRT computes those of constants once. With an int8 filter itself CONV_2D rounds the image as
 * well, and takes 1.0 to 1.3 times as long on AVX2 (DEPTHWISE_CONV_2D more).
 */
export const widened = (stored: FileTensor, lower: Lowering): FileTensor =>
  lower.call('DEQUANTIZE', [stored], stored.shape);

const limits: Readonly<Record<string, readonly [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
};

/** A scale or zero point, one for all. */
function parameter(node: Node, value: Value, lower: Lowering): FileTensor {
  if (value.tensor?.size === 1) return lower.number(Number((value.tensor.data as Int8Array)[0]));
  if (value.tensor || value.shape?.length)
    throw lower.unsupported(node, 'scales of channels are not lowered');
  return lower.tensor(value);
}

/** Whole numbers, in float32: `clamp(round(x / scale) + zeroPoint)`. */
function rounded(
  x: FileTensor,
  scale: FileTensor,
  zeroPoint: FileTensor | undefined,
  [low, high]: readonly [number, number],
  lower: Lowering,
): FileTensor {
  const steps = lower.call('ROUND', [lower.binary('DIV', x, scale)], x.shape);
  const moved = zeroPoint ? lower.binary('ADD', steps, zeroPoint) : steps;
  return lower.binary('MINIMUM', lower.binary('MAXIMUM', moved, lower.number(low)), lower.number(high));
}

/** Integers between operators on reals stay whole numbers in float32: the same results, and no type that a runtime may refuse. */
const quantizeLinear: LoweringRule<OpArguments['QuantizeLinear']> = (node, args, lower) => {
  const range = limits[node.output().dtype ?? ''];
  if (!range || args.block_size) throw lower.unsupported(node, 'it gives no numbers of 8 or 16 bits');
  const zero = node.inputs[2] && parameter(node, node.inputs[2], lower);
  return rounded(lower.tensor(node.input(0)), parameter(node, node.input(1), lower), zero, range, lower);
};

/** Numbers, scale and zero point: scale = (max(x, 0) - min(x, 0)) / 255, and the zero point is where 0 falls. */
function atRunTime(x: FileTensor, lower: Lowering): [FileTensor, FileTensor, FileTensor] {
  const axes = x.shape.map((_, axis) => axis);
  const none = lower.number(0);
  const low = lower.binary('MINIMUM', lower.reduce('REDUCE_MIN', x, axes), none);
  const high = lower.binary('MAXIMUM', lower.reduce('REDUCE_MAX', x, axes), none);
  const steps = lower.binary('DIV', lower.binary('SUB', high, low), lower.number(255));
  const scale = lower.binary('MAXIMUM', steps, lower.number(leastScale));
  const below = lower.binary('DIV', lower.binary('SUB', none, low), scale);
  const zeroPoint = lower.call('ROUND', [below], below.shape);
  return [rounded(x, scale, zeroPoint, limits.uint8!, lower), scale, zeroPoint];
}

const dynamicQuantizeLinear: LoweringRule<object> = (node, _args, lower) =>
  atRunTime(lower.tensor(node.input(0)), lower);

/** Reals as rounding to 8 bits leaves them, in a range that is found at run time. */
export function roundedAtRunTime(x: FileTensor, lower: Lowering): FileTensor {
  const [numbers, scale, zeroPoint] = atRunTime(x, lower);
  return lower.binary('MUL', lower.binary('SUB', numbers, zeroPoint), scale);
}

const dequantizeLinear: LoweringRule<OpArguments['DequantizeLinear']> = (node, args, lower) => {
  const [numbers, scale, zero] = [node.input(0), node.input(1), node.inputs[2]];
  if (args.block_size) throw lower.unsupported(node, 'scales of blocks are not lowered');
  const stored = storedBehind(node.output(), scale.shape?.length ? args.axis : 0);
  if (typeof stored === 'string') throw lower.unsupported(node, stored);
  if (stored) {
    const { name, tensor, scales, axis, zeroPoints } = stored;
    return widened(lower.constant(tensor, name, scales, axis, zeroPoints), lower);
  }
  const x = lower.tensor(numbers);
  const centred = zero ? lower.binary('SUB', x, parameter(node, zero, lower)) : x;
  return lower.binary('MUL', centred, parameter(node, scale, lower));
};

/** Rounding by itself; layers of int8 weights are in `rules-linear.ts`. */
export const quantizedRules = {
  QuantizeLinear: quantizeLinear,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
  DequantizeLinear: dequantizeLinear,
} satisfies LoweringRules;
