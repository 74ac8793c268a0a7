import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import type { QuantizedActivation } from './activation.ts';

/** A layer in int8 as `quantizeDynamic` and `quantizeStatic` write it. */
export interface QuantizedLayer {
  /**
   * The node whose result the integer product is: DynamicQuantizeMatMul, MatMulIntegerToFloat, or MatMul or Conv on
   * dequantized operands.
   */
  readonly product: Node;
  /** float32, as it is before quantization. */
  readonly input: Value;
  /**
   * The input's numbers where they are values of the graph, undefined where the product makes them itself, or (a
   * convolution) multiplies floats.
   * Scale and zero point are constants under the static scheme.
   */
  readonly activation: QuantizedActivation | undefined;
  /** The numbers of what a convolution gives on such an input. */
  readonly result?: QuantizedActivation;
  /** A constant, int8 `[in, out]`, of a convolution `[out, in / groups, ...window]`; uint8 where another tool made it. */
  readonly weight: Value;
  /** A constant of the weight's type, as long as its scale; undefined: 0. */
  readonly weightZeroPoint?: Value | undefined;
  /** A constant, float32: a number an output channel, or a scalar. */
  readonly weightScale: Value;
  /** A constant, float32 `[out]`. */
  readonly bias: Value | undefined;
  /** The layer's result, bias included. */
  readonly output: Value;
}

/** An int8 Linear on quantized activations as one operator, and its result: float32, bias included. */
export function fusedLinear(
  b: Builder,
  { quantized, scale, zeroPoint }: QuantizedActivation,
  {
    weight,
    weightScale,
    weightZeroPoint,
    bias,
  }: Pick<QuantizedLayer, 'weight' | 'weightScale' | 'weightZeroPoint' | 'bias'>,
): Value {
  const operands = [quantized, weight, scale, weightScale, zeroPoint, weightZeroPoint, bias];
  while (!operands.at(-1)) operands.pop();
  return b.op('com.microsoft.MatMulIntegerToFloat', operands);
}
