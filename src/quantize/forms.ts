import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { dataTypes, Tensor } from '../graph/tensor.ts';
import { type QuantizedLinear, quantizedLinears } from './quantized-linear.ts';
import { quantization } from './record.ts';

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

function quantizeAtRunTime(b: Builder, input: Value): Activation {
  const [quantized, scale, zeroPoint] = b.node('DynamicQuantizeLinear', [input], {}, 3).outputs;
  return { quantized: quantized!, scale: scale!, zeroPoint: zeroPoint! };
}

/** Smallest normal float32: keeps the scale of a value that is zero throughout from being zero. */
const leastScale = 2 ** -126;

/**
 * 7-bit activations, which DynamicQuantizeLinear can't give: the range of the whole value, extended to 0,
 * over 127 steps; the zero point is where 0 falls (PyTorch's `linear_dynamic` with `reduce_range`).
 */
function quantizeReduced(b: Builder, input: Value): Activation {
  const [none, levels] = [b.scalar(0), b.scalar(127)];
  const low = b.op('Min', [b.op('ReduceMin', [input], { keepdims: 0 }), none]);
  const high = b.op('Max', [b.op('ReduceMax', [input], { keepdims: 0 }), none]);
  const steps = b.op('Div', [b.op('Sub', [high, low]), levels]);
  const scale = b.op('Max', [steps, b.scalar(leastScale)]);
  const zero = b.op('Round', [b.op('Div', [b.op('Sub', [none, low]), scale])]);
  const zeroPoint = b.op('Cast', [b.op('Clip', [zero, none, levels])], { to: dataTypes.uint8.onnx });
  return { quantized: b.op('QuantizeLinear', [input, scale, zeroPoint]), scale, zeroPoint };
}

/**
 * A copy of an int8 graph, as `quantizeDynamic` or `quantizeStatic` made it, in the form asked for. All
 * forms compute the same integers, with one exception: `DynamicQuantizeMatMul`, the `fused` form of the
 * dynamic scheme, uses all 8 bits also for backends with a reduced range, which it has no way to ask for.
 *
 * @throws UserError when the graph has no int8 Linears in the form these passes write
 */
export function toForm(source: Graph, form: Form): Graph {
  const { graph } = source.clone();
  const layers = quantizedLinears(graph);
  if (layers.length === 0) throw new UserError('the model has no int8 linear layers: quantize it first');
  const dynamic = new Map<Value, Activation>();
  const reduceRange = quantization(source)?.reduceRange ?? false;
  for (const layer of layers) {
    const lower = lowerings[layer.activation ? 'static' : 'dynamic'][form];
    if (!lower) continue;
    const b = new Builder(graph, layer.product);
    const activationAtRunTime = () => {
      const input = layer.product.input(0);
      let found = dynamic.get(input);
      if (!found) {
        found = (reduceRange ? quantizeReduced : quantizeAtRunTime)(b, input);
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
