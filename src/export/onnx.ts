import type { Graph } from '../graph/graph.ts';
import { type EncodedModel, encodeOnnx, externalAbove, weightBytes } from '../onnx/write.ts';
import { optimizeForOrt } from '../optimize/optimize.ts';
import type { Engine } from '../runtime/session.ts';

/**
 * The graph as ONNX files that ship: laid out for ONNX Runtime, with the model's notes (architecture,
 * preprocessing, classes, quantization) in the metadata. Above 1 GiB of weights they are in a file of
 * their own, which must then be written beside the model under the name `external`.
 */
export async function exportOnnx(
  engine: Engine,
  graph: Graph,
  external = 'model.onnx.data',
): Promise<EncodedModel> {
  const optimized = await optimizeForOrt(engine, graph);
  return encodeOnnx(optimized, weightBytes(optimized) > externalAbove ? external : undefined);
}
