import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { dataTypes, Tensor } from '../graph/tensor.ts';
import type { Affine } from './affine.ts';
import type { Numbers } from './backends.ts';

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

/** Activations whose range is found at run time, in as many bits as the numbers have. */
export const activationAtRunTime = (b: Builder, input: Value, { reduceRange }: Numbers) =>
  reduceRange ? reducedActivation(b, input) : fullActivation(b, input);

/** Activations with a range that was found beforehand; constants and result are named after the input, or `name`. */
export function calibratedActivation(
  b: Builder,
  input: Value,
  { scale, zeroPoint }: Affine,
  name = input.name,
): QuantizedActivation {
  const { graph } = b;
  const constant = (what: string, tensor: Tensor) =>
    graph.addConstant(graph.uniqueName(`${name}_${what}`), tensor);
  const parameters = {
    scale: constant('scale', Tensor.scalar(scale)),
    zeroPoint: constant('zero_point', new Tensor('uint8', [], Uint8Array.of(zeroPoint))),
  };
  const operands = [input, parameters.scale, parameters.zeroPoint];
  return { quantized: b.op('QuantizeLinear', operands, {}, `${name}_quantized`), ...parameters };
}

/** Smallest normal float32: keeps the scale of a value that is zero throughout from being zero. */
export const leastScale = 2 ** -126;

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

/** What a QuantizeLinear with these very parameters was given; undefined where the numbers come otherwise. */
export function quantizedInput({ quantized, scale, zeroPoint }: QuantizedActivation): Value | undefined {
  const node = quantized.producer;
  if (node?.op !== 'QuantizeLinear' || node.inputs[1] !== scale || node.inputs[2] !== zeroPoint)
    return undefined;
  return node.input(0);
}
