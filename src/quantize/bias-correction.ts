import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { type OpName, rowOf } from '../graph/schema/signature.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { besideLayers } from './beside.ts';
import { besideBlocks, blockProduct } from './beside-blocks.ts';
import { channelAxis } from './layer.ts';
import { fusedLinear, type QuantizedLayer } from './quantized-layer.ts';
import { type Quantization, quantization } from './record.ts';

/**
 * Takes from the bias of each layer in int8, or int4, in the graph given, what its outputs are off on the average, on exact inputs: rounded
 * weights do not cancel where a channel has a mean (Data-Free Quantization, arXiv 1906.04721, section 4.2).
 * @param source the float32 graph that it was made from
 * @param batches inputs by the model's input names
 */
export async function correctBias(
  engine: Engine,
  source: Graph,
  quantized: Graph,
  batches: AsyncIterable<Tensors> | Iterable<Tensors>,
): Promise<void> {
  const { graph } = source.clone();
  const b = new Builder(graph);
  const layers: { int8: QuantizedLayer; mean: Value }[] = [];
  const record = quantization(quantized)!;
  for (const { layer, int8, off } of everyLayer(b, quantized, record)) {
    const rank = off.shape!.length;
    const channels = (channelAxis(layer) + rank) % rank;
    const others = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => axis !== channels);
    layers.push({ int8, mean: b.op('ReduceMean', [off, b.ints(others)], { keepdims: 0 }) });
  }
  if (layers.length === 0) return;
  graph.outputs.splice(0, Infinity, ...layers.map(({ mean }) => mean));
  const session = await engine.load(graph);
  const sums = layers.map(({ mean }) => new Float64Array(mean.staticShape[0]!));
  let done = 0;
  try {
    for await (const feeds of batches) {
      const found = await session.run(feeds);
      for (const [i, { mean }] of layers.entries()) {
        found[mean.name]!.floats.forEach((value, channel) => {
          sums[i]![channel]! += value;
        });
      }
      done++;
    }
  } finally {
    await session.dispose();
  }
  if (done === 0) return;
  for (const [i, { int8 }] of layers.entries()) {
    const before = int8.bias?.tensor?.floats;
    const bias = Float32Array.from(sums[i]!, (sum, channel) => (before?.[channel] ?? 0) - sum / done);
    setBias(quantized, int8, Tensor.float32([bias.length], bias));
  }
}

/** One after the other: what both write into the graph, they write as they are asked. */
function* everyLayer(b: Builder, quantized: Graph, record: Quantization) {
  yield* besideLayers(b, quantized, record);
  yield* besideBlocks(b, quantized, record);
}

/** How a layer without a bias is written with one, by the op of its product. */
const withBias: { readonly [O in OpName]?: (b: Builder, layer: QuantizedLayer, bias: Value) => Value } = {
  'com.microsoft.DynamicQuantizeMatMul': (b, { input, weight, weightScale }, bias) =>
    b.op('com.microsoft.DynamicQuantizeMatMul', [input, weight, weightScale, undefined, bias]),
  'com.microsoft.MatMulIntegerToFloat': (b, layer, bias) =>
    fusedLinear(b, layer.activation!, { ...layer, bias }),
  'com.microsoft.MatMulNBits': (b, { product }, bias) =>
    b.op('Add', [blockProduct(b, product, product.inputs), bias]),
  MatMul: (b, { product }, bias) => b.op('Add', [b.op('MatMul', [product.input(0), product.input(1)]), bias]),
};

function setBias(graph: Graph, layer: QuantizedLayer, tensor: Tensor): void {
  const { bias, product, output } = layer;
  if (bias) {
    if (bias.uses.length === 1) {
      graph.setConstant(bias, tensor);
      return;
    }
    const own = graph.addConstant(graph.uniqueName(bias.name), tensor);
    const [{ node, index }] = bias.uses.filter(
      ({ node }) => node === product || node.outputs.includes(output),
    ) as [(typeof bias.uses)[number]];
    node.setInput(index, own);
    return;
  }
  const own = graph.addConstant(graph.uniqueName(`${layer.weight.name}_bias`), tensor);
  if (product.op === 'Conv') {
    product.setInput(2, own);
    return;
  }
  const made = rowOf(withBias, product)!(new Builder(graph, product), layer, own);
  replaceValue(graph, output, made);
  graph.removeDead();
}
