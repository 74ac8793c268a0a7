import type { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { type Linear, linears } from '../graph/linear.ts';
import { dataTypes } from '../graph/tensor.ts';
import { activationAtRunTime, type QuantizedActivation } from './activation.ts';
import { numbersOf } from './backends.ts';
import { type QuantizedLinear, quantizedLinears } from './quantized-linear.ts';
import type { Quantization } from './record.ts';

/** A Linear of a float32 graph, and the integers of a quantized model on the same inputs. */
export interface BesideLayer {
  readonly layer: Linear;
  readonly int8: QuantizedLinear;
  /** What the integers stand for. */
  readonly inputs: Value;
  readonly weights: Value;
  /** What int8 gives less what float32 gives. */
  readonly off: Value;
}

/**
 * Writes behind a float32 graph, for each Linear that is int8 in `quantized`, what that model's integers make of the exact inputs.
 * @param b of a copy of the graph that `quantized` was made from
 */
export function besideLayers(b: Builder, quantized: Graph, record: Quantization): BesideLayer[] {
  const integers = new Map(quantizedLinears(quantized).map((layer) => [layer.output.name, layer]));
  return linears(b.graph).flatMap((layer) => {
    const { input, output } = layer;
    const int8 = integers.get(output.name);
    if (!int8) return [];
    const [inputs, weights] = [inputNumbers(b, input, int8, record), weightNumbers(b, int8)];
    const product = b.op('MatMul', [inputs, weights]);
    const bias = int8.bias && b.constant(int8.bias.tensor!, 'bias');
    const off = b.op('Sub', [bias ? b.op('Add', [product, bias]) : product, output]);
    return [{ layer, int8, inputs, weights, off }];
  });
}

/** What a quantized layer reads, in float32, as its integers stand for it. */
function inputNumbers(
  b: Builder,
  input: Value,
  { activation }: QuantizedLinear,
  record: Quantization,
): Value {
  const constants = activation?.scale.tensor && activation.zeroPoint.tensor;
  const quantized: QuantizedActivation | undefined = constants && {
    scale: b.constant(activation!.scale.tensor!),
    zeroPoint: b.constant(constants),
    quantized: input,
  };
  const { scale, zeroPoint, ...made } = quantized ?? activationAtRunTime(b, input, numbersOf(record));
  const integers = quantized ? b.op('QuantizeLinear', [input, scale, zeroPoint]) : made.quantized;
  return b.op('DequantizeLinear', [integers, scale, zeroPoint]);
}

const weightNumbers = (b: Builder, { weight, weightScale }: QuantizedLinear): Value =>
  b.op('Mul', [
    b.op('Cast', [b.constant(weight.tensor!, 'integers')], { to: dataTypes.float32.onnx }),
    b.constant(weightScale.tensor!, 'scale'),
  ]);
