import { type Progress, silent } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { type BackendName, backendNamed } from './backends.ts';
import { layersToQuantize, replaceLayers } from './layers.ts';
import { assertFullPrecision, recordQuantization } from './record.ts';

export interface DynamicOptions {
  backend?: BackendName;
  /** Weights to leave in float32, as patterns of their names (`head.*`). */
  ignore?: readonly string[];
  progress?: Progress;
}

/**
 * A copy of the graph in which every Linear has int8 weights and finds the range of its activations at
 * run time: `com.microsoft.DynamicQuantizeMatMul(x, weight int8 [in, out], scale, -, bias)`. Integer
 * weights take the place, and the name, of the float ones; convolutions and products of two activations
 * stay in float32.
 *
 * The op quantizes x as a whole to 8 bits, so results depend a little on what else is in the batch.
 *
 * @throws UserError when the backend is unknown, the model is quantized already, has no Linear to
 *   quantize, or has weights that are no numbers
 */
export async function quantizeDynamic(
  engine: Engine,
  source: Graph,
  { backend = 'mlas', ignore = [], progress = silent }: DynamicOptions = {},
): Promise<Graph> {
  const { weights, reduceRange } = backendNamed(backend);
  assertFullPrecision(source);
  const { graph } = source.clone();
  const { layers, ignored } = layersToQuantize(graph, ignore);
  await replaceLayers(engine, graph, layers, weights, progress, (b, { input, bias }, { values, scale }) =>
    b.op('com.microsoft.DynamicQuantizeMatMul', [input, values, scale, ...(bias ? [undefined, bias] : [])]),
  );
  recordQuantization(graph, { dtype: 'int8', scheme: 'dynamic', backend, reduceRange, ignored });
  return graph;
}
