import type { Builder } from '../graph/builder.ts';
import type { Convolution } from '../graph/convolution.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { soleReader } from '../graph/patterns.ts';
import { dataTypes, Tensor } from '../graph/tensor.ts';
import { type QuantizedActivation, quantizedInput } from './activation.ts';
import type { PackedWeight } from './packed-weights.ts';
import type { QuantizedLayer } from './quantized-layer.ts';

/**
 * An int8 kernel in float32, as `Cast` and `Mul`: ONNX Runtime computes what depends on constants alone when it loads a file, so
 * that the convolution is the float one there, in its fastest layout; a `DequantizeLinear` it would run each time.
 */
export function widened(b: Builder, { values, scale }: PackedWeight): Value {
  const { shape } = values.tensor!;
  const column = [shape[0]!, ...shape.slice(1).map(() => 1)];
  const factors = scale.shape?.length === 1 ? reshaped(b, scale, column) : scale;
  return b.op('Mul', [b.op('Cast', [values], { to: dataTypes.float32.onnx }), factors]);
}

/** The same as one operator that converters know. */
export function dequantized(b: Builder, { values, scale }: PackedWeight): Value {
  const { size } = scale.tensor!;
  return b.op('DequantizeLinear', [values, scale.shape?.length === 1 ? scale : reshaped(b, scale, [size])], {
    axis: 0,
  });
}

/** A convolution, or a look-up, with another weight; all else stays. */
export function withWeight(b: Builder, { op, inputs, attributes }: Node, weight: Value): Value {
  const at = weightInput(op);
  return b.op(
    op,
    inputs.map((value, i) => (i === at ? weight : value)),
    Object.fromEntries(attributes),
  );
}

/** Which input the weight of a convolution, or a look-up, is. */
export const weightInput = (op: string): number => (op === 'Gather' ? 0 : 1);

/** A constant of another shape. Its name is free in any graph, so that graphs in memory and read again count alike. */
function reshaped({ graph }: Builder, { name, tensor }: Value, shape: readonly number[]): Value {
  const own = `${name}_${shape.length}d`;
  return graph.addConstant(graph.uniqueName(own), Tensor.float32(shape, tensor!.floats));
}

/** A convolution of other operands. */
export const convolved = (
  b: Builder,
  { product, bias }: Pick<Convolution, 'product' | 'bias'>,
  x: Value,
  kernel: Value,
) => b.op('Conv', bias ? [x, kernel, bias] : [x, kernel], Object.fromEntries(product.attributes));

/**
 * A convolution of quantized activations in standard operators on integers (`QLinearConv`), which adds its bias in 32 bits: in
 * steps of the input's scale times the kernel's.
 */
export function integerConvolution(b: Builder, layer: QuantizedLayer): Value {
  const { product, activation: x, result: y, weight, weightScale, bias } = layer;
  const { size, floats: scales } = weightScale.tensor!;
  const step = x!.scale.tensor!.floats[0]!;
  const operands = [
    ...[x!.quantized, x!.scale, x!.zeroPoint],
    ...[weight, size === 1 ? weightScale : reshaped(b, weightScale, [size])],
    new Tensor('int8', size === 1 ? [] : [size], new Int8Array(size)),
    ...[y!.scale, y!.zeroPoint],
  ];
  if (bias) {
    const steps = bias.tensor!.floats.map((value, channel) =>
      Math.round(value / (step * scales[size === 1 ? 0 : channel]!)),
    );
    operands.push(new Tensor('int32', [steps.length], Int32Array.from(steps)));
  }
  const sums = b.op('QLinearConv', operands, Object.fromEntries(product.attributes));
  return b.op('DequantizeLinear', [sums, y!.scale, y!.zeroPoint]);
}

/**
 * A convolution whose kernel is int8: behind `widened` or `dequantized`, of floats; or of quantized activations, where what it
 * gives is quantized too.
 */
export function matchQuantizedConvolution(graph: Graph, product: Node): QuantizedLayer | undefined {
  const kernel = storedKernel(product.input(1));
  const bias = product.inputs[2];
  if (!kernel || (bias && !bias.isConstant)) return undefined;
  const x = product.input(0).producer;
  const bare = { product, ...kernel, bias, input: product.input(0), output: product.output() };
  if (x?.op !== 'DequantizeLinear' || !x.inputs[2]) return { ...bare, activation: undefined };
  const activation = { quantized: x.input(0), scale: x.input(1), zeroPoint: x.input(2) };
  const input = quantizedInput(activation);
  const result = quantizedResult(graph, product.output());
  if (!input || !result) return { ...bare, activation: undefined };
  return { ...bare, input, activation, result: result.activation, output: result.output };
}

/** A look-up in a table that is int8. */
export function matchQuantizedTable(_graph: Graph, product: Node): QuantizedLayer | undefined {
  const table = storedKernel(product.input(0));
  const [input, output] = [product.input(1), product.output()];
  return table && { product, ...table, input, activation: undefined, bias: undefined, output };
}

function storedKernel(value: Value): { weight: Value; weightScale: Value } | undefined {
  const { producer } = value;
  if (producer?.op === 'DequantizeLinear') {
    const [weight, weightScale] = [producer.input(0), producer.input(1)];
    return weight.tensor && weightScale.tensor && !producer.inputs[2] ? { weight, weightScale } : undefined;
  }
  const cast = producer?.op === 'Mul' ? producer.input(0).producer : undefined;
  if (cast?.op !== 'Cast') return undefined;
  const [weight, weightScale] = [cast.input(0), producer!.input(1)];
  return weight.tensor && weightScale.tensor && weight.dtype === 'int8' ? { weight, weightScale } : undefined;
}

function quantizedResult(
  graph: Graph,
  value: Value,
): { activation: QuantizedActivation; output: Value } | undefined {
  const quantize = soleReader(graph, value);
  if (quantize?.op !== 'QuantizeLinear' || !quantize.inputs[2]) return undefined;
  const [scale, zeroPoint, quantized] = [quantize.input(1), quantize.input(2), quantize.output()];
  const dequantize = soleReader(graph, quantized);
  if (dequantize?.op !== 'DequantizeLinear') return undefined;
  if (dequantize.inputs[1] !== scale || dequantize.inputs[2] !== zeroPoint) return undefined;
  return { activation: { quantized, scale, zeroPoint }, output: dequantize.output() };
}
