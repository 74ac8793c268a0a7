import { UserError } from '../errors.ts';
import { Builder } from '../graph/builder.ts';
import { globMatcher } from '../graph/glob.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { linears } from '../graph/linear.ts';
import { replaceValue } from '../graph/replace.ts';
import { type Progress, silent } from '../progress.ts';
import type { Engine } from '../runtime/session.ts';
import { type BackendName, backendNamed } from './backends.ts';
import { assertFullPrecision, recordQuantization } from './record.ts';
import { WeightQuantizer } from './weights.ts';

export interface DynamicOptions {
  backend?: BackendName;
  /** Weights to leave in float32, as patterns of their names (`head.*`). */
  ignore?: readonly string[];
  progress?: Progress;
}

interface Packed {
  values: Value;
  scale: Value;
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
  const graph = source.clone();
  const ignored = globMatcher(ignore);
  const all = linears(graph).filter(({ weight }) => weight.dtype === 'float32');
  const layers = all.filter(({ weight }) => !ignored(weight.name));
  if (layers.length === 0) {
    throw new UserError(
      all.length ? 'every linear layer is ignored: nothing to quantize' : 'the model has no linear layers',
    );
  }
  const quantizer = new WeightQuantizer(engine, weights);
  const packed = new Map<Value, Packed>();
  const task = progress.task('Quantizing', layers.length, 'layers');
  try {
    for (const [done, layer] of layers.entries()) {
      const { input, weight, bias, output, product } = layer;
      let pack = packed.get(weight);
      if (!pack) {
        const { values, scale } = await quantizer.quantize(layer);
        pack = {
          values: graph.addConstant(graph.uniqueName(`${weight.name}_int8`), values),
          scale: graph.addConstant(graph.uniqueName(`${weight.name}_scale`), scale),
        };
        packed.set(weight, pack);
        weight.tensor!.release();
      }
      const b = new Builder(graph, product);
      const operands = [input, pack.values, pack.scale, ...(bias ? [undefined, bias] : [])];
      const result = b.op('com.microsoft.DynamicQuantizeMatMul', operands);
      replaceValue(graph, output, result);
      task.update(done + 1);
    }
  } finally {
    task.done();
    await quantizer.dispose();
  }
  graph.removeDead();
  for (const [weight, { values }] of packed) {
    if (!graph.constants.has(weight.name)) graph.rename(values, weight.name);
  }
  recordQuantization(graph, {
    dtype: 'int8',
    scheme: 'dynamic',
    backend,
    reduceRange,
    ignored: all.filter((layer) => !layers.includes(layer)).map(({ weight }) => weight.name),
  });
  return graph;
}
