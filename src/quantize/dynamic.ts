import { type Progress, silent } from '../common/progress.ts';
import type { Graph, Value } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { type QuantizedActivation, reducedActivation } from './activation.ts';
import { chosen, type NumberOptions, numbersOf } from './backends.ts';
import { layersToQuantize, replaceLayers } from './layers.ts';
import { fusedLinear } from './quantized-layer.ts';
import { assertFullPrecision, recordQuantization } from './record.ts';

export interface DynamicOptions extends NumberOptions {
  /** Weights to leave in float32, as patterns of their names (`head.*`). */
  ignore?: readonly string[];
  progress?: Progress;
}

/**
 * A copy of the graph in which every layer has int8 weights, and every Linear finds the range of its activations at
 * run time: `com.microsoft.DynamicQuantizeMatMul(x, weight int8 [in, out], scale, -, bias)`; with 7-bit
 * activations, which that op does not have, `com.microsoft.MatMulIntegerToFloat` behind the ops that find
 * and use such a range. Integer weights take the place, and the name, of the float ones; convolutions (which then multiply in
 * float32, see `multipliesIntegers`) have their kernel behind a `Cast` and a `Mul`. Products of two activations stay in float32.
 * A norm behind a convolution should be in it before (`foldNorms`).
 *
 * x is quantized as a whole, so results depend a little on what else is in the batch.
 *
 * @throws UserError when the backend is unknown, the model is quantized already, has nothing to
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
  const { layers, ignored } = layersToQuantize(graph, { ignore, weights: choice.weights });
  const reduced = new Map<Value, QuantizedActivation>();
  const { weightError, kept } = await replaceLayers(
    engine,
    graph,
    layers,
    { scheme: 'dynamic', numbers, progress },
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
  recordQuantization(graph, {
    ...{ dtype: 'int8', scheme: 'dynamic', ...chosen(choice), weightError, ignored },
    tooUneven: kept.length ? kept : undefined,
  });
  return graph;
}
