import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import type { Linear } from '../graph/linear.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session } from '../runtime/session.ts';
import type { Granularity } from './backends.ts';
import { WeightPairs, withinInt8 } from './weight-pairs.ts';

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

export interface WeightRounding {
  /** One scale for each output channel, or one for the whole matrix. */
  readonly granularity: Granularity;
  /** Whether neighbours that are multiplied as a pair keep within `pairBound`; for scales of channels. */
  readonly bounded: boolean;
}

/** Scales don't go below this (float32 epsilon), so that all-zero channels divide by something. */
const smallestScale = 2 ** -23;

/**
 * Quantizes weights symmetrically to int8, a matrix at a time on the engine.
 *
 * Plain: with m = max |w| over an output channel (or all), scale = max(m / 127.5, 2^-23),
 * q = clip(round(w * (1 / scale)), -128, 127), rounding half to even and every step in float32. These are
 * the numbers of PyTorch's PerChannelMinMaxObserver and MinMaxObserver with `qint8` and a symmetric scheme.
 *
 * Bounded: a channel's scale grows until no pair exceeds `pairBound` before rounding; where both
 * neighbours are rounded away from zero, the one that moved more goes back by one. (Cutting the few largest
 * pairs of a channel instead, at the scale of least squared error, gains 1 % of the error of normal weights.)
 */
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
      // ONNX Runtime would rewrite w * (1 / scale) as w / scale, which rounds other numbers.
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
  { granularity, bounded }: WeightRounding,
): Graph {
  const graph = new Graph('quantize weight');
  const b = new Builder(graph);
  const weight = graph.addInput('weight', 'float32', shape);
  const columns = layout === 'out,in' ? b.op('Transpose', [weight], { perm: [1, 0] }) : weight;
  const axes = Tensor.int64(granularity === 'channel' ? [0] : [0, 1]);
  const plain = plainScale(b, columns, axes);
  const pairs = bounded
    ? new WeightPairs(b, columns, layout === 'out,in' ? [shape[1], shape[0]] : shape)
    : undefined;
  const scale = pairs ? pairs.scale(plain) : plain;
  const rounded = pairs ? pairs.round(scale) : round(b, columns, scale);
  const channelScale = granularity === 'channel' ? plain : plainScale(b, columns, Tensor.int64([0]));
  const zero = b.op('ReduceSum', [b.op('Mul', [weight, b.scalar(0)])], { keepdims: 0 }, 'zero');
  const squares = [
    sumOfSquares(b, columns),
    errorOf(b, columns, rounded, scale),
    errorOf(b, columns, round(b, columns, channelScale), channelScale),
  ].map((sum) => b.op('Reshape', [sum, Tensor.int64([1])]));
  graph.outputs.push(
    b.op('Cast', [rounded], { to: 3 }, 'values'),
    b.op('Identity', [scale], {}, 'scale'),
    zero,
    b.op('Concat', squares, { axis: 0 }, 'squares'),
  );
  return graph;
}

function plainScale(b: Builder, columns: Value, axes: Tensor): Value {
  const largest = b.op('ReduceMax', [b.op('Abs', [columns]), axes], { keepdims: 0 });
  return b.op('Max', [b.op('Div', [largest, b.scalar(127.5)]), b.scalar(smallestScale)]);
}

const round = (b: Builder, columns: Value, scale: Value): Value =>
  b.op('Round', [withinInt8(b, columns, scale)]);

const sumOfSquares = (b: Builder, value: Value): Value => b.op('ReduceSumSquare', [value], { keepdims: 0 });

const errorOf = (b: Builder, columns: Value, rounded: Value, scale: Value): Value =>
  sumOfSquares(b, b.op('Sub', [b.op('Mul', [rounded, scale]), columns]));
