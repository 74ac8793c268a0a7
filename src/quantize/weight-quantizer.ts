import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session } from '../runtime/session.ts';
import type { Layer } from './layer.ts';
import {
  columnsOf,
  fromColumns,
  type RoundedWeight,
  roundWeight,
  type WeightRounding,
} from './weight-rounding.ts';

/** A layer's weight as integers: `weight ~ values * scale`, zero point 0. */
export interface QuantizedWeight {
  /** int8: of a Linear `[in, out]`, of a convolution `[out, in / groups, ...window]`. */
  readonly values: Tensor;
  /** float32: `[out]`, or a scalar for the whole matrix. */
  readonly scale: Tensor;
  /** Sums of squares over the matrix, from which relative errors follow. */
  readonly squares: WeightSquares;
  /** Share of the numbers, zeros not counted, that become 0. */
  readonly lost: number;
}

export interface WeightSquares {
  /** Of the weights. */
  readonly weight: number;
  /** Of what rounding to `values` changes. */
  readonly error: number;
  /** Of what plain rounding with one scale for each output channel would change. */
  readonly plainError: number;
}

/** Quantizes weights as `roundWeight` has it, a matrix at a time on the engine. */
export class WeightQuantizer {
  readonly #engine: Engine;
  readonly #sessions = new Map<string, Session>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** @throws UserError when a weight is infinite or not a number */
  async quantize(
    layer: Pick<Layer, 'weight' | 'layout'>,
    rounding: WeightRounding,
  ): Promise<QuantizedWeight> {
    const { weight } = layer;
    const session = await this.#session(layer, rounding);
    const { values, scale, zero, squares } = await session.run({ weight: weight.tensor! });
    if (zero!.floats[0] !== 0) {
      throw new UserError(`weight ${weight.name} has values that are infinite or not a number`);
    }
    const [norm = 0, error = 0, plainError = 0, before = 0, after = 0] = squares!.floats;
    return {
      values: values!,
      scale: scale!,
      squares: { weight: norm, error, plainError },
      lost: before > 0 ? 1 - after / before : 0,
    };
  }

  async #session(layer: Pick<Layer, 'weight' | 'layout'>, rounding: WeightRounding): Promise<Session> {
    const key = `${layer.layout} ${layer.weight.staticShape} ${JSON.stringify(rounding)}`;
    let session = this.#sessions.get(key);
    if (!session) {
      // Numbers to the bit: every step as it is written.
      const options = { optimization: 'disabled' } as const;
      session = await this.#engine.load(quantizingGraph(layer, rounding), options);
      this.#sessions.set(key, session);
    }
    return session;
  }

  async dispose(): Promise<void> {
    for (const session of this.#sessions.values()) await session.dispose();
    this.#sessions.clear();
  }
}

/**
 * Outputs `values`, `scale`, `squares` (as `WeightSquares`, in that order, then how many numbers are not 0 before and after) and `zero`, which is not 0 when
 * some weight is not finite.
 */
function quantizingGraph(layer: Pick<Layer, 'weight' | 'layout'>, rounding: WeightRounding): Graph {
  const graph = new Graph('quantize weight');
  const b = new Builder(graph);
  const weight = graph.addInput('weight', 'float32', layer.weight.staticShape);
  const [columns, size] = columnsOf(b, weight, layer.layout);
  const rounded = roundWeight(b, columns, size, rounding);
  const plain = roundWeight(b, columns, size, { granularity: 'channel', bounded: false });
  const zero = b.op('ReduceSum', [b.op('Mul', [weight, b.scalar(0)])], { keepdims: 0 }, 'zero');
  const squares = [
    sumOfSquares(b, columns),
    errorOf(b, columns, rounded),
    errorOf(b, columns, plain),
    nonZeros(b, columns),
    nonZeros(b, rounded.integers),
  ].map((sum) => b.op('Reshape', [sum, Tensor.int64([1])]));
  graph.outputs.push(
    b.op('Cast', [fromColumns(b, rounded.integers, layer)], { to: 3 }, 'values'),
    b.op('Identity', [rounded.scale], {}, 'scale'),
    zero,
    b.op('Concat', squares, { axis: 0 }, 'squares'),
  );
  return graph;
}

const sumOfSquares = (b: Builder, value: Value): Value => b.op('ReduceSumSquare', [value], { keepdims: 0 });

const nonZeros = (b: Builder, value: Value): Value =>
  b.op('ReduceL1', [b.op('Sign', [value])], { keepdims: 0 });

const errorOf = (b: Builder, columns: Value, { integers, scale }: RoundedWeight): Value =>
  sumOfSquares(b, b.op('Sub', [b.op('Mul', [integers, scale]), columns]));
