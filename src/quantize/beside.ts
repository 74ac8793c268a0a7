import type { Builder } from '../graph/builder.ts';
import type { Convolution } from '../graph/convolution.ts';
import type { Graph, Value } from '../graph/graph.ts';
import type { Linear } from '../graph/linear.ts';
import { dataTypes } from '../graph/tensor.ts';
import { activationAtRunTime, type QuantizedActivation } from './activation.ts';
import { numbersOf } from './backends.ts';
import { isConvolution, isLinear, layersOf } from './layer.ts';
import { quantizedLayers } from './match-quantized.ts';
import { convolved, widened } from './quantized-convolution.ts';
import type { QuantizedLayer } from './quantized-layer.ts';
import type { Quantization } from './record.ts';

/** A layer of a float32 graph, and the integers of a quantized model on the same inputs. */
export interface BesideLayer {
  readonly layer: Linear | Convolution;
  readonly int8: QuantizedLayer;
  /** What the integers of its inputs stand for. */
  readonly inputs: Value;
  /** Those of its weight, float32, their scale left out. */
  readonly weights: Value;
  /** What int8 gives less what float32 gives. */
  readonly off: Value;
}

/**
 * Writes into a float32 graph, behind each layer that is int8 in `quantized`, what that model's integers make of the exact inputs.
 * Until the next layer is asked for, the builder writes there too.
 * @param b of a copy of the graph that `quantized` was made from
 */
export function* besideLayers(b: Builder, quantized: Graph, record: Quantization): Generator<BesideLayer> {
  const { graph } = b;
  const integers = new Map(quantizedLayers(quantized).map((layer) => [layer.output.name, layer]));
  for (const layer of layersOf(graph)) {
    const { input, output } = layer;
    const int8 = integers.get(output.name);
    if (!int8 || !(isLinear(layer) || isConvolution(layer))) continue;
    b.before = graph.nodes[graph.nodes.indexOf(output.producer!) + 1];
    const values = b.constant(int8.weight.tensor!, 'integers');
    const scale = b.constant(int8.weightScale.tensor!, 'scale');
    const bias = int8.bias && b.constant(int8.bias.tensor!, 'bias');
    const weights = b.op('Cast', [values], { to: dataTypes.float32.onnx });
    if (isConvolution(layer)) {
      const inputs = int8.activation ? inputNumbers(b, input, int8.activation, record) : input;
      const made = convolved(b, { ...layer, bias }, inputs, widened(b, { values, scale }));
      const given = int8.result ? inputNumbers(b, made, int8.result, record) : made;
      yield { layer, int8, inputs, weights, off: b.op('Sub', [given, output]) };
    } else {
      const inputs = inputNumbers(b, input, int8.activation, record);
      const product = b.op('Mul', [b.op('MatMul', [inputs, weights]), scale]);
      const off = b.op('Sub', [bias ? b.op('Add', [product, bias]) : product, output]);
      yield { layer, int8, inputs, weights, off };
    }
  }
  b.before = undefined;
}

/** What a quantized Linear multiplies, in float32; of one in four bits what it is handed. */
export const dequantizedInput = (b: Builder, layer: QuantizedLayer, record: Quantization): Value =>
  record.dtype === 'int4' ? layer.product.input(0) : inputNumbers(b, layer.input, layer.activation, record);

/** What a quantized layer reads (or gives), in float32, as its integers stand for it. */
function inputNumbers(
  b: Builder,
  input: Value,
  activation: QuantizedActivation | undefined,
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
