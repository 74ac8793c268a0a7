import type { StraightThrough } from '../autodiff/backward.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { activationAtRunTime, calibratedActivation } from './activation.ts';
import type { Affine } from './affine.ts';
import { type NumberOptions, numbersOf } from './backends.ts';
import { isConvolution, isLinear, type Layer, multipliesIntegers } from './layer.ts';
import { layersToQuantize } from './layers.ts';
import { convolved, withWeight } from './quantized-convolution.ts';
import { steps } from './weight-pairs.ts';
import { columnsOf, fromColumns, roundingOf, roundWeight, type WeightRounding } from './weight-rounding.ts';

/** The int8 numbers that a float32 graph is to compute with. */
export interface FakeQuantization extends NumberOptions {
  /** Weights to leave as they are, as patterns of their names (`head.*`). */
  ignore?: readonly string[];
  /**
   * Static scheme: scale and zero point of what each layer reads, and each convolution gives, by its name
   * (`calibratedRanges`). Left out: found at run time.
   */
  ranges?: ReadonlyMap<string, Affine>;
  /**
   * Which layers compute with these numbers, by the name of their weight: a scalar of type bool in the graph, to be had where
   * the layer is. A layer without one always does.
   */
  switches?: ReadonlyMap<string, (b: Builder) => Value>;
}

/**
 * Gives every layer that `quantizeDynamic` or `quantizeStatic` would turn into int8 their numbers, but computes in
 * float32 with weights that may change, in the graph given:
 *
 *     x -> quantize -> dequantize -> MatMul -> Add(bias) -> y
 *          weight -> whole numbers -> times their scale --^
 *
 * A convolution reads, and gives, exact numbers where int8 would only store its weight.
 *
 * The gradient goes straight through the rounding, except where a number was cut off; scales are constants to it. Ranges
 * that are found at run time cut nothing off.
 *
 * @param graph of operator set 18 or later
 * @returns what `backward` has to be told
 * @throws UserError when the backend is unknown, or the graph has nothing to quantize
 */
export function fakeQuantize(
  graph: Graph,
  { ignore = [], ranges, switches, ...choice }: FakeQuantization,
): Map<Value, StraightThrough> {
  const numbers = numbersOf(choice);
  const straight = new Map<Value, StraightThrough>();
  const activations = new Map<Value, Value>();
  const weights = new Map<string, Value>();

  const rangeOf = (name: string): Affine | undefined => {
    const range = ranges?.get(name);
    if (ranges && !range) throw new Error(`no range was found for ${name}`);
    return range;
  };
  const activation = (b: Builder, input: Value): Value => {
    const range = rangeOf(input.name);
    // Passes that rewrite the producer of the input leave this one alone.
    const of = b.op('Identity', [input], {}, `${input.name}_exact`);
    const { quantized, scale, zeroPoint } = range
      ? calibratedActivation(b, of, range)
      : activationAtRunTime(b, of, numbers);
    const made = b.op('DequantizeLinear', [quantized, scale, zeroPoint]);
    straight.set(made, range ? { of, where: (end) => within(end, of, range) } : { of });
    return made;
  };

  // An engine would take QuantizeLinear behind a convolution for int8, and round the weights again.
  const result = (b: Builder, of: Value, range: Affine): Value => {
    const [scale, zero] = [b.scalar(range.scale), b.scalar(range.zeroPoint)];
    const steps = b.op('Add', [b.op('Round', [b.op('Div', [of, scale])]), zero]);
    const integers = b.op('Clip', [steps, b.scalar(0), b.scalar(largest)]);
    const made = b.op('Mul', [b.op('Sub', [integers, zero]), scale]);
    straight.set(made, { of, where: (end) => within(end, of, range) });
    return made;
  };

  const scheme = ranges ? 'static' : 'dynamic';
  for (const layer of layersToQuantize(graph, { ignore, weights: choice.weights }).layers) {
    const { weight, layout, bias, output, product } = layer;
    const b = new Builder(graph, product);
    const onIntegers = multipliesIntegers(graph, layer, scheme);
    const [input, key] = [product.input(0), `${layout} ${onIntegers} ${weight.name}`];
    const x = onIntegers ? (activations.get(input) ?? activation(b, input)) : input;
    if (onIntegers) activations.set(input, x);
    const w = weights.get(key) ?? fakeWeight(b, layer, roundingOf(layer, numbers, onIntegers), straight);
    weights.set(key, w);
    const isOn = switches?.get(weight.name)?.(b);
    const either = (on: Value, off: Value) => (isOn ? b.op('Where', [isOn, on, off]) : on);
    if (!isLinear(layer) && !onIntegers) {
      replaceValue(graph, output, withWeight(b, product, either(w, weight)));
      continue;
    }
    if (isConvolution(layer)) {
      const made = convolved(b, layer, either(x, input), either(w, weight));
      replaceValue(graph, output, either(result(b, made, rangeOf(output.name)!), made));
      continue;
    }
    const exact = isOn && columnsOf(b, weight, layout)[0];
    const made = b.op('MatMul', [either(x, input), exact ? either(w, exact) : w]);
    replaceValue(graph, output, bias ? b.op('Add', [made, bias]) : made);
  }
  graph.removeDead();
  return straight;
}

/** The largest number of an activation, whatever its range was chosen for: more than 7 bits are not cut off. */
const largest = 255;

/** Where a number becomes one of those there are, and not the last because it lies beyond. */
function within(b: Builder, input: Value, { scale, zeroPoint }: Affine): Value {
  const bounds = [-0.5 - zeroPoint, largest + 0.5 - zeroPoint].map((steps) => b.scalar(steps * scale));
  return b.op('Equal', [b.op('Clip', [input, ...bounds]), input]);
}

function fakeWeight(
  b: Builder,
  layer: Layer,
  rounding: WeightRounding,
  straight: Map<Value, StraightThrough>,
): Value {
  const { weight, layout } = layer;
  const [of, shape] = columnsOf(b, weight, layout);
  const { integers, scale } = roundWeight(b, of, shape, rounding);
  const made = b.op('Mul', [integers, scale], {}, `${weight.name}_rounded`);
  // Scales hold the lowest number; the highest of a channel may round to 128, and is cut to 127.
  straight.set(made, { of, where: (end) => end.op('Less', [steps(end, of, scale), end.scalar(127.5)]) });
  return fromColumns(b, made, layer);
}
