import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import { Builder } from '../graph/builder.ts';
import { assertMatches, globMatcher } from '../graph/glob.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import type { Engine } from '../runtime/session.ts';
import type { Numbers, WeightKind } from './backends.ts';
import { isLinear, type Layer, layersOf, multipliesIntegers } from './layer.ts';
import { type PackedWeight, PackedWeights } from './packed-weights.ts';
import { widened, withWeight } from './quantized-convolution.ts';
import { WeightQuantizer } from './weight-quantizer.ts';
import { roundingOf } from './weight-rounding.ts';

/**
 * The float32 layers of a graph whose weights match none of the patterns, and the names of the weights
 * that do. PyTorch's dynamic quantization, whose numbers `weights: 'torch'` stands for, leaves convolutions and tables alone.
 * @throws UserError when that leaves none, or a pattern matches no tensor
 */
export function layersToQuantize(
  graph: Graph,
  { ignore = [], weights = 'safe' }: { ignore?: readonly string[]; weights?: WeightKind | undefined },
): { layers: Layer[]; ignored: string[] } {
  const matches = globMatcher(ignore);
  const all = layersOf(graph).filter((layer) => weights === 'safe' || isLinear(layer));
  assertMatches('ignore', ignore, [...all.map(({ weight }) => weight.name), ...graph.constants.keys()]);
  const layers = all.filter(({ weight }) => !matches(weight.name));
  if (layers.length === 0) {
    throw new UserError(
      all.length
        ? 'every layer is ignored: nothing to quantize'
        : `the model has no linear layers${weights === 'safe' ? ' or convolutions' : ''}`,
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

/** What was put in the place of layers. */
export interface Replaced {
  readonly weightError: WeightError;
  /** Weights that int8 can't hold, which stayed in float32. */
  readonly kept: string[];
}

/**
 * A kernel of which rounding changes more (a share of its norm; 0.7 % is usual, twice that where it is `halved`), or more of whose
 * numbers become 0, stays in float32: one tap a channel is many times as large as the others, as where a
 * branch that hands its input on was added.
 */
const most = { error: 0.015, lost: 0.5 } as const;

/**
 * Puts an integer form in the place of each layer, in the graph given. A weight that several layers
 * share is quantized once (twice, if some use it transposed); integer
 * weights take the names of the float ones that nobody reads any more. What only stores its weight is written here.
 *
 * @param build writes a layer that multiplies integers anew, bias included, and returns its result; its `input` is what the
 *   layer reads by then, which may be the new result of a layer before it
 */
export async function replaceLayers(
  engine: Engine,
  graph: Graph,
  layers: readonly Layer[],
  { scheme, numbers, progress }: { scheme: 'dynamic' | 'static'; numbers: Numbers; progress: Progress },
  build: (b: Builder, layer: Layer, weight: PackedWeight) => Value,
): Promise<Replaced> {
  const quantizer = new WeightQuantizer(engine);
  const sums = { weight: 0, error: 0, plainError: 0 };
  const packed = new PackedWeights(graph, 'int8');
  const kept = new Set<string>();
  const task = progress.task('Quantizing', layers.length, 'layers');
  try {
    for (const [done, layer] of layers.entries()) {
      const { weight, layout, output, product } = layer;
      const onIntegers = multipliesIntegers(graph, layer, scheme);
      const rounding = roundingOf(layer, numbers, onIntegers);
      const pack = await packed.of(weight, `${layout} ${onIntegers}`, async () => {
        const { values, scale, squares, lost } = await quantizer.quantize(layer, rounding);
        const allowed = most.error * (rounding.halved ? 2 : 1);
        const far = squares.error > allowed ** 2 * squares.weight;
        if (!isLinear(layer) && (far || lost > most.lost)) {
          kept.add(weight.name);
          return undefined;
        }
        for (const of of ['weight', 'error', 'plainError'] as const) sums[of] += squares[of];
        return { values, scale };
      });
      if (!pack) continue;
      const b = new Builder(graph, product);
      const made = onIntegers
        ? build(b, { ...layer, input: product.input(0) }, pack)
        : withWeight(b, product, widened(b, pack));
      replaceValue(graph, output, made);
      task.update(done + 1);
    }
  } finally {
    task.done();
    await quantizer.dispose();
  }
  packed.finish();
  const relative = (squares: number) => (sums.weight > 0 ? Math.sqrt(squares / sums.weight) : 0);
  return {
    weightError: { relative: relative(sums.error), plain: relative(sums.plainError) },
    kept: [...kept],
  };
}
