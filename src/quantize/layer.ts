import { type Convolution, matchConvolution } from '../graph/convolution.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { type Linear, linearMatchers } from '../graph/linear.ts';
import { type OpName, rowOf } from '../graph/schema/signature.ts';
import { matchTable, type Table } from '../graph/table.ts';

/** What int8 makes smaller. */
export type Layer = Linear | Convolution | Table;

type Matcher = (graph: Graph, node: Node) => Layer | undefined;

/** The ops that can be the product of a layer, keyed by `Node.op`. */
export const layerMatchers: { readonly [O in OpName]?: Matcher } = {
  ...linearMatchers,
  Conv: matchConvolution,
  Gather: matchTable,
};

/** Every layer of the graph whose weight is float32, in order. */
export function layersOf(graph: Graph): Layer[] {
  return graph.nodes
    .flatMap((node) => (rowOf(layerMatchers, node) as Matcher | undefined)?.(graph, node) ?? [])
    .filter(({ weight }) => weight.dtype === 'float32');
}

export const isConvolution = (layer: Layer): layer is Convolution => layer.layout === 'out,in,window';

export const isLinear = (layer: Layer): layer is Linear => !isConvolution(layer) && layer.layout !== 'rows';

/** The axis that the channels of what a layer reads, and gives, are along; the last: -1. */
export const channelAxis = (layer: Layer): number => (isConvolution(layer) ? 1 : -1);

/**
 * Whether a layer multiplies integers; otherwise only its weight is stored as such, and it multiplies floats. Linears do. A
 * convolution does under the static scheme, where ONNX Runtime has a kernel (QLinearConv, which needs the range of what
 * comes out): on AVX2, quantizing and dequantizing included, it takes 0.5 to 0.8 of the time. It does not
 * - under the dynamic scheme: ConvInteger takes 1.2 to 2 times as long as the float convolution on AVX2, and is refused with
 *   int8 weights; a 1x1 as a Linear between two transposes gains 20 % or loses 20 %;
 * - with one input channel a group: depthwise 1.05 to 1.5 times the time, several filters a channel 6 to 14 times;
 * - on the model's inputs, whose range the image decides: a stem is little work, and all that follows depends on it.
 */
export function multipliesIntegers(graph: Graph, layer: Layer, scheme: 'dynamic' | 'static'): boolean {
  if (!isConvolution(layer)) return isLinear(layer);
  return scheme === 'static' && layer.weight.staticShape[1]! > 1 && !graph.inputs.includes(layer.input);
}
