import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import { chosen, type NumberOptions, numbersOf } from './backends.ts';
import { type CalibrationData, calibrate } from './calibrate.ts';
import { layersToQuantize, replaceLayers } from './layers.ts';
import { type Affine, affine, type ObserverName, observers } from './observers.ts';
import { assertFullPrecision, recordQuantization } from './record.ts';

export interface StaticOptions extends NumberOptions {
  /** Images to find activation ranges on, preprocessed like those the model will see. */
  data: CalibrationData | undefined;
  /** How a range follows from what was seen; default `mse`. */
  observer?: ObserverName;
  /** Weights to leave in float32, as patterns of their names (`head.*`). */
  ignore?: readonly string[];
  progress?: Progress;
}

/**
 * A copy of the graph in which every Linear has int8 weights and uint8 inputs whose ranges were found
 * on calibration data, written as QuantizeLinear/DequantizeLinear pairs:
 *
 *     x -> QuantizeLinear -> DequantizeLinear -> MatMul -> Add(bias) -> y
 *          weight int8 [in, out] -> DequantizeLinear --^
 *
 * which engines run as one integer product with float32 results. Linears that read the same value share
 * its QuantizeLinear. Integer weights take the place, and the name, of the float ones; convolutions and
 * products of two activations stay in float32. Unlike under the dynamic scheme, an image's result does
 * not depend on what else is in the batch.
 *
 * With 7-bit activations (`torch` weights of some backends) scale and zero point are chosen for 7 bits; as
 * in PyTorch, a number beyond the calibrated range still becomes up to 255.
 *
 * @throws UserError when there are no data, backend or observer is unknown, the model is quantized
 *   already, has no Linear to quantize, or weights or activations are no numbers
 */
export async function quantizeStatic(
  engine: Engine,
  source: Graph,
  { data, observer = 'mse', ignore = [], progress = silent, ...choice }: StaticOptions,
): Promise<Graph> {
  const numbers = numbersOf(choice);
  if (!Object.hasOwn(observers, observer)) {
    throw new UserError(`no observer "${observer}"; there are ${Object.keys(observers).join(', ')}`);
  }
  if (!data) throw new UserError('static quantization needs --data');
  assertFullPrecision(source);
  const { graph } = source.clone();
  const { layers, ignored } = layersToQuantize(graph, ignore);
  const names = [...new Set(layers.map(({ input }) => input.name))];
  const watched = await calibrate(engine, source, names, { data, observer, progress });
  const levels = numbers.reduceRange ? 127 : 255;
  const activations = new Map<Value, ActivationConstants>();
  const weightError = await replaceLayers(
    engine,
    graph,
    layers,
    numbers,
    progress,
    (b, { input, bias }, { values, scale }) => {
      let activation = activations.get(input);
      if (!activation) {
        activation = quantizeActivation(b, input, affine(watched.get(input.name)!.range(levels), levels));
        activations.set(input, activation);
      }
      const x = b.op('DequantizeLinear', activation);
      const w = b.op('DequantizeLinear', [values, scale], scale.shape?.length ? { axis: 1 } : undefined);
      const product = b.op('MatMul', [x, w]);
      return bias ? b.op('Add', [product, bias]) : product;
    },
  );
  const record = { scheme: 'static', ...chosen(choice), observer, weightError, ignored } as const;
  recordQuantization(graph, { dtype: 'int8', ...record });
  return graph;
}

/** uint8 numbers, scale, zero point. */
type ActivationConstants = readonly [Value, Value, Value];

function quantizeActivation(b: Builder, input: Value, { scale, zeroPoint }: Affine): ActivationConstants {
  const { graph } = b;
  const constant = (what: string, tensor: Tensor) =>
    graph.addConstant(graph.uniqueName(`${input.name}_${what}`), tensor);
  const parameters = [
    constant('scale', Tensor.scalar(scale)),
    constant('zero_point', new Tensor('uint8', [], Uint8Array.of(zeroPoint))),
  ] as const;
  return [b.op('QuantizeLinear', [input, ...parameters], {}, `${input.name}_quantized`), ...parameters];
}
