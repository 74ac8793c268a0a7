import { gradientOpset } from '../../autodiff/backward.ts';
import { Builder } from '../../graph/builder.ts';
import { Graph } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { WeightGrid } from '../../quantize/weight-grid.ts';
import type { Engine, Session, Tensors } from '../../runtime/session.ts';
import { adamWScalars } from '../adamw.ts';
import type { Moments } from './moments.ts';
import { roundingStep, stretch } from './rounding-step.ts';

/** What is learnt by, found on a ViT of CIFAR-10. */
const settings = { rate: 0.1, weight: 32, warmUp: 0.2 } as const;

/** Integers chosen anew, and the outputs' errors: norms of what is off over those of the float32 outputs. */
export interface LearntRounding {
  readonly integers: Int8Array;
  readonly before: number;
  readonly after: number;
}

/** Learns how weights are rounded, one after the other. Weights of one shape share their graphs. */
export class RoundingLearner {
  readonly #engine: Engine;
  readonly #sessions = new Map<string, Promise<Session>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * The choice among the whole numbers next to each weight at which the layer's outputs are nearest to the float32 model's. An output
   * that is not nearer than before keeps its integers.
   * @param moments of what the layer reads
   * @param told of each step that is done
   */
  async learn(
    grid: WeightGrid,
    moments: Moments,
    { steps, told }: { steps: number; told: () => void },
  ): Promise<LearntRounding> {
    const { inputs, outputs, exact, scale } = grid;
    const shape = [inputs, outputs];
    const matrix = (numbers: ArrayLike<number>) => Tensor.float32(shape, Float32Array.from(numbers));
    const measuring = await this.#session(`measure ${shape} ${scale.shape}`, () => measureGraph(grid));
    const { gram: G, cross, drift, power } = moments;
    const measure = (integers: Int8Array) =>
      measuring.run({ exact, scale, integers: matrix(integers), G, cross, drift, power });
    const nearest = await measure(grid.integers);
    const C = nearest.C!;
    const energy = total(nearest.rounding!.floats);
    if (!(energy > 0)) return { integers: grid.integers, before: 0, after: 0 };

    const below = Float32Array.from(grid.steps.floats, Math.floor);
    const fixed = {
      ...{ G, C, exact, scale, below: matrix(below) },
      room: matrix(grid.steps.floats.map((value, i) => Math.ceil(value) - below[i]!)),
      unit: Tensor.scalar((inputs * outputs) / energy),
    };
    const zeros = Tensor.zeros('float32', shape);
    let state: Tensors = {
      v: matrix(grid.steps.floats.map((value, i) => logit(value - below[i]!))),
      m: zeros,
      u: zeros,
    };
    const session = await this.#session(`step ${shape} ${scale.shape}`, () =>
      roundingStep(inputs, outputs, scale.shape),
    );
    for (let step = 1; step <= steps; step++) {
      const found = await session.run({ ...fixed, ...state, ...scalarsOf(step, steps) });
      state = { v: found['next.v']!, m: found['next.m']!, u: found['next.u']! };
      told();
    }
    const chosen = grid.choose(state.v!.floats);
    const learnt = await measure(chosen);
    const [before, after] = [nearest.errors!.floats, learnt.errors!.floats];
    const integers = chosen.map((value, i) => {
      const output = i % outputs;
      return after[output]! < before[output]! ? value : grid.integers[i]!;
    });
    const best = before.map((value, output) => Math.min(value, after[output]!));
    const all = total(nearest.squares!.floats);
    const relative = (squares: Float32Array) => Math.sqrt(Math.max(0, total(squares)) / all);
    return { integers, before: relative(before), after: relative(best) };
  }

  #session(key: string, make: () => Graph): Promise<Session> {
    const known = this.#sessions.get(key) ?? this.#engine.load(make());
    this.#sessions.set(key, known);
    return known;
  }

  async dispose(): Promise<void> {
    for (const session of this.#sessions.values()) await (await session).dispose();
    this.#sessions.clear();
  }
}

const total = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((sum, value) => sum + value, 0);

/** The v whose share is this, of 0 to 1. */
function logit(share: number): number {
  const p = (share - stretch.low) / (stretch.high - stretch.low);
  return Math.log(p / (1 - p));
}

/** As in AdaRound: at first the outputs alone count; then shares are driven to 0 and 1, those in the middle last. */
function scalarsOf(step: number, steps: number): Tensors {
  const { rate, weight, warmUp } = settings;
  const done = Math.max(0, (step / steps - warmUp) / (1 - warmUp));
  const { stepSize, epsilon } = adamWScalars(step, rate, 0);
  const scalars = { weight: weight * done ** 2, stepSize, epsilon };
  return Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, Tensor.scalar(value)]));
}

/**
 * Of each output, with the weight's integers: `errors`, what is off, squared, over all rows; `rounding`, the same on exact inputs' place
 * (y for both); `squares`, those of the float32 outputs. Beside them `C`, what `roundingStep` reads.
 */
function measureGraph({ inputs, outputs, scale: { shape } }: WeightGrid): Graph {
  const graph = new Graph('measure');
  graph.opsets.set('', gradientOpset);
  const b = new Builder(graph);
  const square = (name: string) => graph.addInput(name, 'float32', [inputs, inputs]);
  const [gram, cross, drift, power] = ['G', 'cross', 'drift', 'power'].map(square);
  const exact = graph.addInput('exact', 'float32', [inputs, outputs]);
  const integers = graph.addInput('integers', 'float32', [inputs, outputs]);
  const off = b.op('Sub', [b.op('Mul', [integers, graph.addInput('scale', 'float32', shape)]), exact]);
  const columns = (value: typeof off) => b.op('ReduceSum', [value, b.ints([0])], { keepdims: 0 });
  const form = (left: typeof off, matrix: typeof off) =>
    columns(b.op('Mul', [left, b.op('MatMul', [matrix, left])]));
  const C = b.op('MatMul', [cross, exact]);
  const rounding = form(off, gram!);
  const named = {
    C,
    errors: b.op('Sum', [
      rounding,
      columns(b.op('Mul', [off, b.op('Mul', [C, b.scalar(2)])])),
      form(exact, drift!),
    ]),
    rounding,
    squares: form(exact, power!),
  };
  graph.outputs.push(...Object.entries(named).map(([name, value]) => b.op('Identity', [value], {}, name)));
  return graph;
}
