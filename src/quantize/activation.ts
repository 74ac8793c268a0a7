import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { dataTypes } from '../graph/tensor.ts';

/** A value as uint8 numbers: `real ~ (quantized - zeroPoint) * scale`. */
export interface QuantizedActivation {
  readonly quantized: Value;
  readonly scale: Value;
  readonly zeroPoint: Value;
}

/** 8-bit activations, their range found at run time. */
export function fullActivation(b: Builder, input: Value): QuantizedActivation {
  const [quantized, scale, zeroPoint] = b.node('DynamicQuantizeLinear', [input], {}, 3).outputs;
  return { quantized: quantized!, scale: scale!, zeroPoint: zeroPoint! };
}

/** Smallest normal float32: keeps the scale of a value that is zero throughout from being zero. */
const leastScale = 2 ** -126;

/**
 * 7-bit activations, their range found at run time, which DynamicQuantizeLinear can't give: the range of the whole value, extended to 0,
 * over 127 steps; the zero point is where 0 falls (PyTorch's `linear_dynamic` with `reduce_range`).
 */
export function reducedActivation(b: Builder, input: Value): QuantizedActivation {
  const [none, levels] = [b.scalar(0), b.scalar(127)];
  const low = b.op('Min', [b.op('ReduceMin', [input], { keepdims: 0 }), none]);
  const high = b.op('Max', [b.op('ReduceMax', [input], { keepdims: 0 }), none]);
  const steps = b.op('Div', [b.op('Sub', [high, low]), levels]);
  const scale = b.op('Max', [steps, b.scalar(leastScale)]);
  const zero = b.op('Round', [b.op('Div', [b.op('Sub', [none, low]), scale])]);
  const zeroPoint = b.op('Cast', [b.op('Clip', [zero, none, levels])], { to: dataTypes.uint8.onnx });
  return { quantized: b.op('QuantizeLinear', [input, scale, zeroPoint]), scale, zeroPoint };
}
