import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Graph, Value } from '../graph/graph.ts';
import type { Linear } from '../graph/linear.ts';
import type { Engine } from '../runtime/session.ts';
import { calibratedActivation, type QuantizedActivation } from './activation.ts';
import { type Affine, affine } from './affine.ts';
import { chosen, type NumberOptions, type Numbers, numbersOf } from './backends.ts';
import { type CalibrationData, calibrate } from './calibrate.ts';
import { layersToQuantize, replaceLayers } from './layers.ts';
import { type ObserverName, observers } from './observers.ts';
import { assertFullPrecision, recordQuantization } from './record.ts';

export interface StaticOptions extends NumberOptions {
  /** Images to find activation ranges on, preprocessed like those the model will see. */
  data: CalibrationData | undefined;
  /** Ranges found beforehand (`calibratedRanges`); then no images are looked at. */
  ranges?: ReadonlyMap<string, Affine> | undefined;
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
  { data, ranges: found, observer = 'mse', ignore = [], progress = silent, ...choice }: StaticOptions,
): Promise<Graph> {
  const numbers = numbersOf(choice);
  if (!data && !found) throw new UserError('static quantization needs --data');
  assertFullPrecision(source);
  const { graph } = source.clone();
  const { layers, ignored } = layersToQuantize(graph, ignore);
  const ranges =
    found ?? (await calibratedRanges(engine, graph, layers, numbers, { data: data!, observer, progress }));
  const activations = new Map<Value, QuantizedActivation>();
  const weightError = await replaceLayers(
    engine,
    graph,
    layers,
    numbers,
    progress,
    (b, { input, bias }, { values, scale }) => {
      const activation = activations.get(input) ?? calibratedActivation(b, input, ranges.get(input.name)!);
      activations.set(input, activation);
      const { quantized, scale: step, zeroPoint } = activation;
      const x = b.op('DequantizeLinear', [quantized, step, zeroPoint]);
      const w = b.op('DequantizeLinear', [values, scale], scale.shape?.length ? { axis: 1 } : undefined);
      const product = b.op('MatMul', [x, w]);
      return bias ? b.op('Add', [product, bias]) : product;
    },
  );
  const record = { scheme: 'static', ...chosen(choice), observer, weightError, ignored } as const;
  recordQuantization(graph, { dtype: 'int8', ...record });
  return graph;
}

/** What ranges are found on, and how. */
export type RangeOptions = Pick<StaticOptions, 'observer' | 'progress'> & { data: CalibrationData };

/**
 * Scale and zero point of what each of some Linears reads, by its name, from one pass over the data.
 * @throws UserError when the observer is unknown, or as `calibrate`
 */
export async function calibratedRanges(
  engine: Engine,
  graph: Graph,
  layers: readonly Linear[],
  { reduceRange }: Numbers,
  { data, observer = 'mse', progress = silent }: RangeOptions,
): Promise<Map<string, Affine>> {
  if (!Object.hasOwn(observers, observer)) {
    throw new UserError(`no observer "${observer}"; there are ${Object.keys(observers).join(', ')}`);
  }
  const names = [...new Set(layers.map(({ input }) => input.name))];
  const watched = await calibrate(engine, graph, names, { data, observer, progress });
  const levels = reduceRange ? 127 : 255;
  return new Map([...watched].map(([name, seen]) => [name, affine(seen.range(levels), levels)]));
}
