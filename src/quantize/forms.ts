import { UserError } from '../errors.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { dataTypes, Tensor } from '../graph/tensor.ts';
import { type QuantizedLinear, quantizedLinears } from './quantized-linear.ts';

/**
 * Ways to write an int8 Linear in ONNX:
 * - `fused`: one operator of ONNX Runtime's own (`com.microsoft`), the quickest there;
 * - `integer`: standard operators on integers, what runs anywhere and nobody has to recognize;
 * - `qdq`: quantize/dequantize pairs around a float product, which engines and converters fuse.
 */
export const forms = ['fused', 'integer', 'qdq'] as const;
export type Form = (typeof forms)[number];

interface Activation {
  readonly quantized: Value;
  readonly scale: Value;
  readonly zeroPoint: Value;
}

/** Writes one layer before its old product and returns its result. */
type Lowering = (b: Builder, layer: QuantizedLinear, activation: () => Activation) => Value;

const withBias = (b: Builder, product: Value, { bias }: QuantizedLinear): Value =>
  bias ? b.op('Add', [product, bias]) : product;

const weightAxis = ({ weightScale }: QuantizedLinear) =>
  weightScale.shape?.length ? { axis: 1 } : undefined;

/** int8 x uint8 products summed in int32, then times both scales. */
const integer =
  (scales: (b: Builder, layer: QuantizedLinear, activation: Activation) => Value | Tensor): Lowering =>
  (b, layer, activationOf) => {
    const activation = activationOf();
    const sums = b.op('MatMulInteger', [activation.quantized, layer.weight, activation.zeroPoint]);
    const floats = b.op('Cast', [sums], { to: dataTypes.float32.onnx });
    return withBias(b, b.op('Mul', [floats, scales(b, layer, activation)]), layer);
  };

const lowerings: Record<'dynamic' | 'static', Record<Form, Lowering | undefined>> = {
  dynamic: {
    fused: undefined,
    integer: integer((b, { weightScale }, { scale }) => b.op('Mul', [scale, weightScale])),
    qdq: (b, layer, activation) => {
      const { quantized, scale, zeroPoint } = activation();
      const x = b.op('DequantizeLinear', [quantized, scale, zeroPoint]);
      const w = b.op('DequantizeLinear', [layer.weight, layer.weightScale], weightAxis(layer));
      return withBias(b, b.op('MatMul', [x, w]), layer);
    },
  },
  static: {
    fused: (b, layer, activation) => {
      const { quantized, scale, zeroPoint } = activation();
      const { weight, weightScale, bias } = layer;
      return b.op('com.microsoft.MatMulIntegerToFloat', [
        quantized,
        weight,
        scale,
        weightScale,
        zeroPoint,
        ...(bias ? [undefined, bias] : []),
      ]);
    },
    integer: integer((_, { weightScale }, { scale }) => {
      const factor = scale.tensor!.floats[0]!;
      return Tensor.float32(
        weightScale.tensor!.shape,
        weightScale.tensor!.floats.map((value) => value * factor),
      );
    }),
    qdq: undefined,
  },
};

/**
 * A copy of an int8 graph, as `quantizeDynamic` or `quantizeStatic` made it, in the form asked for. All
 * forms compute the same integers; float32 results differ by rounding alone.
 *
 * @throws UserError when the graph has no int8 Linears in the form these passes write
 */
export function toForm(source: Graph, form: Form): Graph {
  const graph = source.clone();
  const layers = quantizedLinears(graph);
  if (layers.length === 0) throw new UserError('the model has no int8 linear layers: quantize it first');
  const dynamic = new Map<Value, Activation>();
  for (const layer of layers) {
    const lower = lowerings[layer.activation ? 'static' : 'dynamic'][form];
    if (!lower) continue;
    const b = new Builder(graph, layer.product);
    const activationAtRunTime = () => {
      const input = layer.product.input(0);
      let found = dynamic.get(input);
      if (!found) {
        const [quantized, scale, zeroPoint] = b.node('DynamicQuantizeLinear', [input], {}, 3).outputs;
        found = { quantized: quantized!, scale: scale!, zeroPoint: zeroPoint! };
        dynamic.set(input, found);
      }
      return found;
    };
    replaceValue(
      graph,
      layer.output,
      lower(b, layer, () => layer.activation ?? activationAtRunTime()),
    );
  }
  graph.removeDead();
  return graph;
}
