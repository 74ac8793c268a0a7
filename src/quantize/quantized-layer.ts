import type { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { soleReader } from '../graph/patterns.ts';
import { type OpName, rowOf } from '../graph/schema/signature.ts';
import { type QuantizedActivation, quantizedInput } from './activation.ts';
import { matchQuantizedConvolution, matchQuantizedTable } from './quantized-convolution.ts';

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

type Rule = (graph: Graph, node: Node) => QuantizedLayer | undefined;

/** The ops that can be the product of an int8 layer, keyed by `Node.op`. */
export const quantizedMatchers: { readonly [O in OpName]?: Rule } = {
  'com.microsoft.DynamicQuantizeMatMul': (_, product) => {
    const [weight, weightScale, zeroPoint, bias] = [1, 2, 3, 4].map((index) => product.inputs[index]);
    if (!weight?.isConstant || !weightScale?.isConstant || (zeroPoint && !zeroPoint.isConstant))
      return undefined;
    const [input, output] = [product.input(0), product.output()];
    const packed = { weight, weightScale, weightZeroPoint: zeroPoint };
    return { product, input, activation: undefined, ...packed, bias, output };
  },
  'com.microsoft.MatMulIntegerToFloat': (_, product) => {
    const [quantized, weight, scale, weightScale, zeroPoint] = [0, 1, 2, 3, 4].map((i) => product.inputs[i]);
    if (!weight?.isConstant || !weightScale?.isConstant || !scale || !zeroPoint) return undefined;
    const [weightZeroPoint, bias] = [product.inputs[5], product.inputs[6]];
    if (weightZeroPoint && !weightZeroPoint.isConstant) return undefined;
    const activation = { quantized: quantized!, scale, zeroPoint };
    const input = quantizedInput(activation);
    const packed = { weight, weightScale, weightZeroPoint };
    return input && { product, input, activation, ...packed, bias, output: product.output() };
  },
  MatMul: (graph, product) => {
    const x = product.input(0).producer;
    const w = product.input(1).producer;
    if (x?.op !== 'DequantizeLinear' || w?.op !== 'DequantizeLinear' || !x.inputs[2]) return undefined;
    const [quantized, scale, zeroPoint] = [x.input(0), x.input(1), x.input(2)];
    const activation = { quantized, scale, zeroPoint };
    const input = quantizedInput(activation);
    const [weight, weightScale, weightZeroPoint] = [w.input(0), w.input(1), w.inputs[2]];
    const inEight = [quantized, weight].every(({ dtype }) => dtype === 'int8' || dtype === 'uint8');
    if (!input || !weight.isConstant || !inEight || (weightZeroPoint && !weightZeroPoint.isConstant))
      return undefined;
    const add = soleReader(graph, product.output());
    const other = add?.op === 'Add' ? add.inputs.find((value) => value !== product.output()) : undefined;
    const bias = other?.isConstant && other.shape?.length === 1 ? other : undefined;
    return {
      product,
      input,
      activation,
      weight,
      weightScale,
      weightZeroPoint,
      bias,
      output: bias ? add!.output() : product.output(),
    };
  },
  Conv: matchQuantizedConvolution,
  Gather: matchQuantizedTable,
};

/** The int8 layer whose product this node is; undefined when it is none. */
export function matchQuantizedLayer(graph: Graph, node: Node): QuantizedLayer | undefined {
  const match = rowOf(quantizedMatchers, node) as Rule | undefined;
  return match?.(graph, node);
}

/** Every int8 layer of the graph, in order. */
export function quantizedLayers(graph: Graph): QuantizedLayer[] {
  return graph.nodes.flatMap((node) => matchQuantizedLayer(graph, node) ?? []);
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
