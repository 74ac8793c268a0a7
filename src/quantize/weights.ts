import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import type { Linear } from '../graph/linear.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session } from '../runtime/session.ts';
import type { Backend } from './backends.ts';

/** A Linear's weight as integers: `weight ~ values * scale`, zero point 0. */
export interface QuantizedWeight {
  /** int8 `[in, out]`. */
  readonly values: Tensor;
  /** float32: `[out]`, or a scalar for the whole matrix. */
  readonly scale: Tensor;
}

/** Scales don't go below this (float32 epsilon), so that all-zero channels divide by something. */
const smallestScale = 2 ** -23;

/**
 * Quantizes weights symmetrically to int8, a matrix at a time on the engine: with m = max |w| over an
 * output channel (or all), scale = max(m / 127.5, 2^-23), q = clip(round(w * (1 / scale)), -128, 127),
 * rounding half to even and every step in float32. These are the numbers of PyTorch's
 * PerChannelMinMaxObserver and MinMaxObserver with `qint8` and a symmetric scheme.
 */
export class WeightQuantizer {
  readonly #engine: Engine;
  readonly #granularity: Backend['weights'];
  readonly #sessions = new Map<Linear['layout'], Session>();

  constructor(engine: Engine, granularity: Backend['weights']) {
    this.#engine = engine;
    this.#granularity = granularity;
  }

  /** @throws UserError when a weight is infinite or not a number */
  async quantize({ weight, layout }: Pick<Linear, 'weight' | 'layout'>): Promise<QuantizedWeight> {
    let session = this.#sessions.get(layout);
    if (!session) {
      // ONNX Runtime would rewrite w * (1 / scale) as w / scale, which rounds other numbers.
      const options = { optimization: 'disabled' } as const;
      session = await this.#engine.load(quantizingGraph(layout, this.#granularity), options);
      this.#sessions.set(layout, session);
    }
    const { values, scale, zero } = await session.run({ weight: weight.tensor! });
    if (zero!.floats[0] !== 0) {
      throw new UserError(`weight ${weight.name} has values that are infinite or not a number`);
    }
    return { values: values!, scale: scale! };
  }

  async dispose(): Promise<void> {
    for (const session of this.#sessions.values()) await session.dispose();
    this.#sessions.clear();
  }
}

/** Outputs `values`, `scale`, and `zero`, which is not 0 when some weight is not finite. */
function quantizingGraph(layout: Linear['layout'], granularity: Backend['weights']): Graph {
  const graph = new Graph('quantize weight');
  const b = new Builder(graph);
  const weight = graph.addInput('weight', 'float32', layout === 'out,in' ? ['O', 'I'] : ['I', 'O']);
  const columns: Value = layout === 'out,in' ? b.op('Transpose', [weight], { perm: [1, 0] }) : weight;
  const axes = Tensor.int64(granularity === 'channel' ? [0] : [0, 1]);
  const largest = b.op('ReduceMax', [b.op('Abs', [columns]), axes], { keepdims: 0 });
  const scale = b.op('Max', [b.op('Div', [largest, b.scalar(127.5)]), b.scalar(smallestScale)], {}, 'scale');
  const scaled = b.op('Mul', [columns, b.op('Div', [b.scalar(1), scale])]);
  const clipped = b.op('Clip', [b.op('Round', [scaled]), b.scalar(-128), b.scalar(127)]);
  const zero = b.op('ReduceSum', [b.op('Mul', [weight, b.scalar(0)])], { keepdims: 0 }, 'zero');
  graph.outputs.push(b.op('Cast', [clipped], { to: 3 }, 'values'), scale, zero);
  return graph;
}
