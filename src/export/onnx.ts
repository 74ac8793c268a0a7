import * as z from 'zod';
import type { Graph } from '../graph/graph.ts';
import { type EncodedModel, encodeOnnx, externalAbove, weightBytes } from '../onnx/write.ts';
import { optimizeForOrt } from '../optimize/optimize.ts';
import { forms, toForm } from '../quantize/forms.ts';
import type { Engine } from '../runtime/session.ts';

export const onnxOptions = z.strictObject({
  form: z.enum(forms).optional().meta({
    description:
      'int8 layers in ONNX: fused (fastest on ONNX Runtime), integer (standard operators), qdq; left out: as they stand in the model',
  }),
});

export type OnnxOptions = z.input<typeof onnxOptions>;

/** The graph that ships: in the form asked for, laid out for ONNX Runtime. */
export function deployable(engine: Engine, graph: Graph, { form }: OnnxOptions = {}): Promise<Graph> {
  return optimizeForOrt(engine, form ? toForm(graph, form) : graph);
}

/**
 * The graph as ONNX files that ship, with the model's notes (architecture, preprocessing, classes,
 * quantization) in the metadata. Above 1 GiB of weights they are in a file of their own, which must then
 * be written beside the model under the name `external`.
 * @throws UserError when a form is asked for and the graph has no int8 layers
 */
export async function exportOnnx(
  engine: Engine,
  graph: Graph,
  { external = 'model.onnx.data', ...options }: OnnxOptions & { external?: string } = {},
): Promise<EncodedModel> {
  const optimized = await deployable(engine, graph, options);
  return encodeOnnx(optimized, weightBytes(optimized) > externalAbove ? external : undefined);
}
