import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import type { Linear } from '../graph/linear.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session } from '../runtime/session.ts';
import { columnsOf, type RoundedWeight, roundWeight, type WeightRounding } from './weight-rounding.ts';

/** A Linear's weight as integers: `weight ~ values * scale`, zero point 0. */
export interface QuantizedWeight {
  /** int8 `[in, out]`. */
  readonly values: Tensor;
  /** float32: `[out]`, or a scalar for the whole matrix. */
  readonly scale: Tensor;
  /** Sums of squares over the matrix, from which relative errors follow. */
  readonly squares: WeightSquares;
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
  readonly #rounding: WeightRounding;
  readonly #sessions = new Map<string, Session>();

  constructor(engine: Engine, rounding: WeightRounding) {
    this.#engine = engine;
    this.#rounding = rounding;
  }

  /** @throws UserError when a weight is infinite or not a number */
  async quantize({ weight, layout }: Pick<Linear, 'weight' | 'layout'>): Promise<QuantizedWeight> {
    const session = await this.#session(layout, weight.staticShape as [number, number]);
    const { values, scale, zero, squares } = await session.run({ weight: weight.tensor! });
    if (zero!.floats[0] !== 0) {
      throw new UserError(`weight ${weight.name} has values that are infinite or not a number`);
    }
    const [norm = 0, error = 0, plainError = 0] = squares!.floats;
    return { values: values!, scale: scale!, squares: { weight: norm, error, plainError } };
  }

  async #session(layout: Linear['layout'], shape: readonly [number, number]): Promise<Session> {
    const key = `${layout} ${shape}`;
    let session = this.#sessions.get(key);
    if (!session) {
      // Numbers to the bit: every step as it is written.
      const options = { optimization: 'disabled' } as const;
      session = await this.#engine.load(quantizingGraph(layout, shape, this.#rounding), options);
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
 * Outputs `values`, `scale`, `squares` (as `WeightSquares`, in that order) and `zero`, which is not 0 when
 * some weight is not finite.
 */
function quantizingGraph(
  layout: Linear['layout'],
  shape: readonly [number, number],
  rounding: WeightRounding,
): Graph {
  const graph = new Graph('quantize weight');
  const b = new Builder(graph);
  const weight = graph.addInput('weight', 'float32', shape);
  const [columns, size] = columnsOf(b, weight, layout);
  const rounded = roundWeight(b, columns, size, rounding);
  const plain = roundWeight(b, columns, size, { granularity: 'channel', bounded: false });
  const zero = b.op('ReduceSum', [b.op('Mul', [weight, b.scalar(0)])], { keepdims: 0 }, 'zero');
  const squares = [sumOfSquares(b, columns), errorOf(b, columns, rounded), errorOf(b, columns, plain)].map(
    (sum) => b.op('Reshape', [sum, Tensor.int64([1])]),
  );
  graph.outputs.push(
    b.op('Cast', [rounded.integers], { to: 3 }, 'values'),
    b.op('Identity', [rounded.scale], {}, 'scale'),
    zero,
    b.op('Concat', squares, { axis: 0 }, 'squares'),
  );
  return graph;
}

const sumOfSquares = (b: Builder, value: Value): Value => b.op('ReduceSumSquare', [value], { keepdims: 0 });

const errorOf = (b: Builder, columns: Value, { integers, scale }: RoundedWeight): Value =>
  sumOfSquares(b, b.op('Sub', [b.op('Mul', [integers, scale]), columns]));
