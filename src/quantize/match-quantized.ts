import type { Graph, Node } from '../graph/graph.ts';
import { soleReader } from '../graph/patterns.ts';
import { type OpName, rowOf } from '../graph/schema/signature.ts';
import { quantizedInput } from './activation.ts';
import { matchQuantizedConvolution, matchQuantizedTable } from './quantized-convolution.ts';
import type { QuantizedLayer } from './quantized-layer.ts';

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
