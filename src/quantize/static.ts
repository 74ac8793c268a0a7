import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import { calibratedActivation, leastScale, type QuantizedActivation } from './activation.ts';
import { type Affine, affine } from './affine.ts';
import { chosen, type NumberOptions, type Numbers, numbersOf } from './backends.ts';
import { type CalibrationData, calibrate } from './calibrate.ts';
import { isConvolution, type Layer, multipliesIntegers } from './layer.ts';
import { layersToQuantize, replaceLayers } from './layers.ts';
import { type ObserverName, observers } from './observers.ts';
import type { PackedWeight } from './packed-weights.ts';
import { convolved, dequantized } from './quantized-convolution.ts';
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
 * A copy of the graph in which every layer has int8 weights and, where it multiplies integers (`multipliesIntegers`), uint8
 * inputs whose ranges were found on calibration data, written as QuantizeLinear/DequantizeLinear pairs:
 *
 *     x -> QuantizeLinear -> DequantizeLinear -> MatMul -> Add(bias) -> y
 *          weight int8 [in, out] -> DequantizeLinear --^
 *
 * which engines run as one integer product with float32 results. What a convolution gives is quantized too:
 *
 *     x -> QuantizeLinear -> DequantizeLinear -> Conv -> QuantizeLinear -> DequantizeLinear -> y
 *          weight int8 [out, in, ...] -> DequantizeLinear --^
 *
 * Layers that read the same value share its QuantizeLinear. Integer weights take the place, and the name, of the float ones;
 * products of two activations stay in float32. Unlike under the dynamic scheme, an image's result does
 * not depend on what else is in the batch.
 *
 * With 7-bit activations (`torch` weights of some backends) scale and zero point are chosen for 7 bits; as
 * in PyTorch, a number beyond the calibrated range still becomes up to 255.
 *
 * @throws UserError when there are no data, backend or observer is unknown, the model is quantized
 *   already, has nothing to quantize, or weights or activations are no numbers
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
  const { layers, ignored } = layersToQuantize(graph, { ignore, weights: choice.weights });
  const ranges =
    found ?? (await calibratedRanges(engine, graph, layers, numbers, { data: data!, observer, progress }));
  const activations = new Map<Value, QuantizedActivation>();
  const { weightError, kept } = await replaceLayers(
    engine,
    graph,
    layers,
    { scheme: 'static', numbers, progress },
    (b, layer, weight) => {
      const { input, bias, output } = layer;
      const { values, scale } = weight;
      const activation = activations.get(input) ?? calibratedActivation(b, input, ranges.get(input.name)!);
      activations.set(input, activation);
      const { quantized, scale: step, zeroPoint } = activation;
      const x = b.op('DequantizeLinear', [quantized, step, zeroPoint]);
      if (isConvolution(layer)) {
        const y = convolved(b, layer, x, dequantized(b, withRoomForBias(b, weight, bias, step)));
        const { quantized, ...result } = calibratedActivation(b, y, ranges.get(output.name)!, output.name);
        return b.op('DequantizeLinear', [quantized, result.scale, result.zeroPoint]);
      }
      const w = b.op('DequantizeLinear', [values, scale], scale.shape?.length ? { axis: 1 } : undefined);
      const product = b.op('MatMul', [x, w]);
      return bias ? b.op('Add', [product, bias]) : product;
    },
  );
  recordQuantization(graph, {
    ...{ dtype: 'int8', scheme: 'static', ...chosen(choice), observer, weightError, ignored },
    tooUneven: kept.length ? kept : undefined,
  });
  return graph;
}

/** Biases are added in 32 bits, to sums that need some room themselves. */
const largestBias = 2 ** 30;

/**
 * A kernel whose steps, times those of the inputs, are large enough for its bias to be a number of 32 bits: a filter that is all but
 * zero has smaller ones, and is rounded anew.
 */
function withRoomForBias(
  b: Builder,
  weight: PackedWeight,
  bias: Value | undefined,
  step: Value,
): PackedWeight {
  const { values, scale } = weight;
  const [scales, biases] = [scale.tensor!.floats, bias?.tensor?.floats];
  if (!biases) return weight;
  const least = biases.map((value) => Math.abs(value) / (largestBias * step.tensor!.floats[0]!));
  if (scales.every((value, filter) => value >= least[filter]!)) return weight;
  const wider = scales.map((value, filter) => Math.max(value, least[filter]!));
  const { shape, data } = values.tensor!;
  const size = data.length / scales.length;
  const rounded = Int8Array.from(data as Int8Array, (value, i) => {
    const filter = Math.floor(i / size);
    return Math.round((value * scales[filter]!) / wider[filter]!);
  });
  b.graph.setConstant(values, new Tensor('int8', shape, rounded));
  b.graph.setConstant(scale, Tensor.float32([scales.length], wider));
  return weight;
}

/** What ranges are found on, and how. */
export type RangeOptions = Pick<StaticOptions, 'observer' | 'progress'> & { data: CalibrationData };

/**
 * Scale and zero point of what each of some layers reads, and each convolution gives, where they multiply integers, by its name,
 * from one pass over the data.
 * @throws UserError when the observer is unknown, or as `calibrate`
 */
export async function calibratedRanges(
  engine: Engine,
  graph: Graph,
  layers: readonly Layer[],
  { reduceRange }: Numbers,
  { data, observer = 'mse', progress = silent }: RangeOptions,
): Promise<Map<string, Affine>> {
  if (!Object.hasOwn(observers, observer)) {
    throw new UserError(`no observer "${observer}"; there are ${Object.keys(observers).join(', ')}`);
  }
  const values = layers
    .filter((layer) => multipliesIntegers(graph, layer, 'static'))
    .flatMap((layer) => (isConvolution(layer) ? [layer.input, layer.output] : [layer.input]));
  const names = [...new Set(values.map(({ name }) => name))];
  const watched = await calibrate(engine, graph, names, { data, observer, progress });
  const levels = reduceRange ? 127 : 255;
  // What a branch adds may be small beside PyTorch's smallest scale: 1e-5 of it, before a layer scale has learned.
  const given = new Set(layers.filter(isConvolution).map(({ output }) => output.name));
  const least = (name: string) => (given.has(name) ? leastScale : undefined);
  return new Map([...watched].map(([name, seen]) => [name, affine(seen.range(levels), levels, least(name))]));
}
