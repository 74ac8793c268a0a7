import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { dataTypes, Tensor } from '../graph/tensor.ts';
import { fullActivation, type QuantizedActivation } from './activation.ts';
import { quantizedLayers } from './match-quantized.ts';
import {
  dequantized,
  integerConvolution,
  weightInput,
  widened,
  withWeight,
} from './quantized-convolution.ts';
import { fusedLinear, type QuantizedLayer } from './quantized-layer.ts';
import { quantization } from './record.ts';

/**
 * Ways to write an int8 layer in ONNX:
 * - `fused`: one operator of ONNX Runtime's own (`com.microsoft`), the quickest there;
 * - `integer`: standard operators on integers, what runs anywhere and nobody has to recognize;
 * - `qdq`: quantize/dequantize pairs around a float product, which engines and converters fuse.
 * Convolutions that multiply floats have their kernel as standard operators in each (`widened`, in `qdq` `dequantized`).
 */
export const forms = ['fused', 'integer', 'qdq'] as const;
export type Form = (typeof forms)[number];

/**
 * Writes one layer before its old product and returns its result; undefined where it stands in that form
 * already.
 */
type Writer = (b: Builder, layer: QuantizedLayer, activation: () => QuantizedActivation) => Value | undefined;

const withBias = (b: Builder, product: Value, { bias }: QuantizedLayer): Value =>
  bias ? b.op('Add', [product, bias]) : product;

/** What the integer sums are multiplied by, a number an output channel or one for all. */
function sumScale(
  b: Builder,
  { weightScale }: QuantizedLayer,
  { scale }: QuantizedActivation,
): Value | Tensor {
  if (!scale.isConstant) return b.op('Mul', [scale, weightScale]);
  const { shape, floats } = weightScale.tensor!;
  const factor = scale.tensor!.floats[0]!;
  return Tensor.float32(
    shape,
    floats.map((value) => value * factor),
  );
}

const writers: Record<Form, Writer> = {
  fused: (b, layer) => {
    const { activation, product } = layer;
    return activation && product.op === 'MatMul' ? fusedLinear(b, activation, layer) : undefined;
  },
  integer: (b, layer, activationOf) => {
    const activation = activationOf();
    const zeros = layer.weightZeroPoint ? [layer.weightZeroPoint] : [];
    const operands = [activation.quantized, layer.weight, activation.zeroPoint, ...zeros];
    const sums = b.op('MatMulInteger', operands);
    const floats = b.op('Cast', [sums], { to: dataTypes.float32.onnx });
    return withBias(b, b.op('Mul', [floats, sumScale(b, layer, activation)]), layer);
  },
  qdq: (b, layer, activationOf) => {
    const { product, weight, weightScale, weightZeroPoint } = layer;
    if (product.op === 'MatMul') return undefined;
    const { quantized, scale, zeroPoint } = activationOf();
    const x = b.op('DequantizeLinear', [quantized, scale, zeroPoint]);
    const axis = weightScale.shape?.length ? { axis: 1 } : undefined;
    const stored = weightZeroPoint ? [weight, weightScale, weightZeroPoint] : [weight, weightScale];
    const w = b.op('DequantizeLinear', stored, axis);
    return withBias(b, b.op('MatMul', [x, w]), layer);
  },
};

/** Ops whose weight may be stored in int8 alone. */
const storedLayers = new Set(['Conv', 'Gather']);

/** The same of those. */
const storedWriters: Record<Form, (b: Builder, layer: QuantizedLayer) => Value | undefined> = {
  fused: (b, layer) => (layer.activation ? undefined : withKernel(b, layer, 'Mul', widened)),
  integer: (b, layer) =>
    layer.activation ? integerConvolution(b, layer) : withKernel(b, layer, 'Mul', widened),
  qdq: (b, layer) => (layer.activation ? undefined : withKernel(b, layer, 'DequantizeLinear', dequantized)),
};

/**
 * A copy of a graph in which convolutions of floats read their int8 kernels, and look-ups their tables, through `DequantizeLinear`, for files that the engine
 * writes itself: it computes what `widened` writes, and the file would hold floats.
 */
export function withDequantizedKernels(source: Graph): Graph {
  const { graph } = source.clone();
  for (const layer of quantizedLayers(graph)) {
    if (!storedLayers.has(layer.product.op) || layer.activation) continue;
    const result = withKernel(new Builder(graph, layer.product), layer, 'DequantizeLinear', dequantized);
    if (result) replaceValue(graph, layer.output, result);
  }
  graph.removeDead();
  return graph;
}

/** A convolution of floats whose kernel is the result of `op`, as `write` writes it. */
function withKernel(b: Builder, layer: QuantizedLayer, op: string, write: typeof widened): Value | undefined {
  const { product, weight, weightScale } = layer;
  if (product.input(weightInput(product.op)).producer?.op === op) return undefined;
  return withWeight(b, product, write(b, { values: weight, scale: weightScale }));
}

/**
 * A copy of an int8 graph, as `quantizeDynamic` or `quantizeStatic` made it, in the form asked for. All
 * forms compute the same integers.
 *
 * @throws UserError when the graph has no int8 layers in the form these passes write
 */
export function toForm(source: Graph, form: Form): Graph {
  const { graph } = source.clone();
  const layers = quantizedLayers(graph);
  if (layers.length === 0) {
    throw new UserError(
      quantization(source)?.foreign
        ? `no layer of the model multiplies 8-bit numbers, so it has no form "${form}": leave it out, and they are written as they are`
        : 'the model has no int8 layers: quantize it first',
    );
  }
  const atRunTime = new Map<Value, QuantizedActivation>();
  for (const layer of layers) {
    const b = new Builder(graph, layer.product);
    const activation = () => {
      if (layer.activation) return layer.activation;
      const input = layer.product.input(0);
      const found = atRunTime.get(input) ?? fullActivation(b, input);
      atRunTime.set(input, found);
      return found;
    };
    const result = storedLayers.has(layer.product.op)
      ? storedWriters[form](b, layer)
      : writers[form](b, layer, activation);
    if (result) replaceValue(graph, layer.output, result);
  }
  graph.removeDead();
  return graph;
}
