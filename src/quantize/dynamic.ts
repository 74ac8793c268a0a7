import { type Progress, silent } from '../common/progress.ts';
import type { Graph, Value } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { type QuantizedActivation, reducedActivation } from './activation.ts';
import { chosen, type NumberOptions, numbersOf } from './backends.ts';
import { layersToQuantize, replaceLayers } from './layers.ts';
import { fusedLinear } from './quantized-linear.ts';
import { assertFullPrecision, recordQuantization } from './record.ts';

export interface DynamicOptions extends NumberOptions {
  /** Weights to leave in float32, as patterns of their names (`head.*`). */
  ignore?: readonly string[];
  progress?: Progress;
}

/**
 * A copy of the graph in which every Linear has int8 weights and finds the range of its activations at
 * run time: `com.microsoft.DynamicQuantizeMatMul(x, weight int8 [in, out], scale, -, bias)`; with 7-bit
 * activations, which that op does not have, `com.microsoft.MatMulIntegerToFloat` behind the ops that find
 * and use such a range. Integer weights take the place, and the name, of the float ones; convolutions and
 * products of two activations stay in float32.
 *
 * x is quantized as a whole, so results depend a little on what else is in the batch.
 *
 * @throws UserError when the backend is unknown, the model is quantized already, has no Linear to
 *   quantize, or has weights that are no numbers
 */
export async function quantizeDynamic(
  engine: Engine,
  source: Graph,
  { ignore = [], progress = silent, ...choice }: DynamicOptions = {},
): Promise<Graph> {
  const numbers = numbersOf(choice);
  assertFullPrecision(source);
  const { graph } = source.clone();
  const { layers, ignored } = layersToQuantize(graph, ignore);
  const reduced = new Map<Value, QuantizedActivation>();
  const weightError = await replaceLayers(
    engine,
    graph,
    layers,
    numbers,
    progress,
    (b, { input, bias }, { values, scale }) => {
      if (!numbers.reduceRange) {
        const operands = [input, values, scale];
        return b.op('com.microsoft.DynamicQuantizeMatMul', bias ? [...operands, undefined, bias] : operands);
      }
      const activation = reduced.get(input) ?? reducedActivation(b, input);
      reduced.set(input, activation);
      return fusedLinear(b, activation, { weight: values, weightScale: scale, bias });
    },
  );
  recordQuantization(graph, { dtype: 'int8', scheme: 'dynamic', ...chosen(choice), weightError, ignored });
  return graph;
}
