import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import { Builder } from '../graph/builder.ts';
import { assertMatches, globMatcher } from '../graph/glob.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { type Linear, linears } from '../graph/linear.ts';
import { replaceValue } from '../graph/replace.ts';
import type { Engine } from '../runtime/session.ts';
import { WeightQuantizer } from './weight-quantizer.ts';
import type { WeightRounding } from './weight-rounding.ts';

/** An int8 weight in the graph: `weight ~ values * scale`. */
export interface PackedWeight {
  /** int8 `[in, out]`. */
  readonly values: Value;
  /** float32 `[out]`, or a scalar. */
  readonly scale: Value;
}

/**
 * The float32 Linears of a graph whose weights match none of the patterns, and the names of the weights
 * that do.
 * @throws UserError when that leaves none, or a pattern matches no tensor
 */
export function layersToQuantize(
  graph: Graph,
  ignore: readonly string[],
): { layers: Linear[]; ignored: string[] } {
  const matches = globMatcher(ignore);
  const all = linears(graph).filter(({ weight }) => weight.dtype === 'float32');
  assertMatches('ignore', ignore, [...all.map(({ weight }) => weight.name), ...graph.constants.keys()]);
  const layers = all.filter(({ weight }) => !matches(weight.name));
  if (layers.length === 0) {
    throw new UserError(
      all.length ? 'every linear layer is ignored: nothing to quantize' : 'the model has no linear layers',
    );
  }
  const ignored = all.filter((layer) => !layers.includes(layer)).map(({ weight }) => weight.name);
  return { layers, ignored };
}

/** What rounding the weights changed, over all layers: Euclidean norms relative to the weights' own. */
export interface WeightError {
  readonly relative: number;
  /** The same with plain rounding, one scale for each output channel. */
  readonly plain: number;
}

/**
 * Puts an integer form in the place of each Linear, in the graph given. A weight that several layers
 * share is quantized once (twice, if some use it transposed); integer
 * weights take the names of the float ones that nobody reads any more.
 *
 * @param build writes the layer anew, bias included, and returns its result; its `input` is what the
 *   layer reads by then, which may be the new result of a layer before it
 */
export async function replaceLayers(
  engine: Engine,
  graph: Graph,
  layers: readonly Linear[],
  rounding: WeightRounding,
  progress: Progress,
  build: (b: Builder, layer: Linear, weight: PackedWeight) => Value,
): Promise<WeightError> {
  const quantizer = new WeightQuantizer(engine, rounding);
  const sums = { weight: 0, error: 0, plainError: 0 };
  const packed = new Map<string, PackedWeight & { of: Value }>();
  const task = progress.task('Quantizing', layers.length, 'layers');
  try {
    for (const [done, layer] of layers.entries()) {
      const { weight, layout, output, product } = layer;
      const key = `${layout} ${weight.name}`;
      let pack = packed.get(key);
      if (!pack) {
        const { values, scale, squares } = await quantizer.quantize(layer);
        for (const of of ['weight', 'error', 'plainError'] as const) sums[of] += squares[of];
        pack = {
          of: weight,
          values: graph.addConstant(graph.uniqueName(`${weight.name}_int8`), values),
          scale: graph.addConstant(graph.uniqueName(`${weight.name}_scale`), scale),
        };
        packed.set(key, pack);
        weight.tensor!.release();
      }
      const current = { ...layer, input: product.input(0) };
      replaceValue(graph, output, build(new Builder(graph, product), current, pack));
      task.update(done + 1);
    }
  } finally {
    task.done();
    await quantizer.dispose();
  }
  graph.removeDead();
  for (const { of, values } of packed.values()) {
    if (!graph.constants.has(of.name)) graph.rename(values, of.name);
  }
  const relative = (squares: number) => (sums.weight > 0 ? Math.sqrt(squares / sums.weight) : 0);
  return { relative: relative(sums.error), plain: relative(sums.plainError) };
}
