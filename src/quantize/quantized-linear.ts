import type { Graph, Node, Value } from '../graph/graph.ts';
import { soleReader } from '../graph/patterns.ts';

/** A Linear in int8 as `quantizeDynamic` and `quantizeStatic` write it. */
export interface QuantizedLinear {
  /** The node whose result the integer product is: DynamicQuantizeMatMul, or MatMul on dequantized operands. */
  readonly product: Node;
  /** float32, as it is before quantization. */
  readonly input: Value;
  /** Static: the constants that quantize the input, and its uint8 numbers. Dynamic: found at run time. */
  readonly activation: { quantized: Value; scale: Value; zeroPoint: Value } | undefined;
  /** A constant, int8 `[in, out]`, zero point 0. */
  readonly weight: Value;
  /** A constant, float32 `[out]` or a scalar. */
  readonly weightScale: Value;
  /** A constant, float32 `[out]`. */
  readonly bias: Value | undefined;
  /** The layer's result, bias included. */
  readonly output: Value;
}

type Rule = (graph: Graph, node: Node) => QuantizedLinear | undefined;

const rules: Record<string, Rule> = {
  'com.microsoft.DynamicQuantizeMatMul': (_, product) => {
    const [weight, weightScale, zeroPoint, bias] = [1, 2, 3, 4].map((index) => product.inputs[index]);
    if (!weight?.isConstant || !weightScale?.isConstant || zeroPoint) return undefined;
    const [input, output] = [product.input(0), product.output()];
    return { product, input, activation: undefined, weight, weightScale, bias, output };
  },
  MatMul: (graph, product) => {
    const x = product.input(0).producer;
    const w = product.input(1).producer;
    if (x?.op !== 'DequantizeLinear' || w?.op !== 'DequantizeLinear' || w.inputs[2]) return undefined;
    const [quantized, scale, zeroPoint] = [x.input(0), x.input(1), x.input(2)];
    const quantize = quantized.producer;
    const [weight, weightScale] = [w.input(0), w.input(1)];
    if (quantize?.op !== 'QuantizeLinear' || !weight.isConstant) return undefined;
    if (quantize.inputs[1] !== scale || quantize.inputs[2] !== zeroPoint) return undefined;
    const add = soleReader(graph, product.output());
    const other = add?.op === 'Add' ? add.inputs.find((value) => value !== product.output()) : undefined;
    const bias = other?.isConstant && other.shape?.length === 1 ? other : undefined;
    return {
      product,
      input: quantize.input(0),
      activation: { quantized, scale, zeroPoint },
      weight,
      weightScale,
      bias,
      output: bias ? add!.output() : product.output(),
    };
  },
};

/** The int8 Linear whose product this node is; undefined when it is none. */
export function matchQuantizedLinear(graph: Graph, node: Node): QuantizedLinear | undefined {
  return rules[node.op]?.(graph, node);
}

/** Every int8 Linear of the graph, in order. */
export function quantizedLinears(graph: Graph): QuantizedLinear[] {
  return graph.nodes.flatMap((node) => matchQuantizedLinear(graph, node) ?? []);
}
