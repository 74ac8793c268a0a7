import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { Random } from '../common/random.ts';
import type { Graph } from '../graph/graph.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import { argMax } from './classifier.ts';
import { loadImageModel } from './image-model.ts';

export interface CompareOptions {
  threads?: number;
  progress?: Progress;
  /** How many inputs there are to come, for the progress bar. */
  images?: number;
  /** They tell classes apart: count how often they agree. */
  classifier?: boolean;
  signal?: AbortSignal;
}

/** How far one output of two models is apart. */
export interface OutputDifference {
  readonly name: string;
  /** Largest absolute difference of a number. */
  readonly maxAbs: number;
  /** That, over the largest absolute number of the reference. */
  readonly relative: number;
}

export interface Agreement {
  /** Largest absolute difference of a number in any output. */
  readonly maxAbs: number;
  /** The largest relative difference of an output. */
  readonly relative: number;
  /** Share of images for which both put the same class first; null for models that are no classifiers. */
  readonly agreement: number | null;
  /** Images compared. */
  readonly samples: number;
  /** Each output by itself, in the reference's order. */
  readonly outputs: readonly OutputDifference[];
}

/**
 * How far two models' outputs are apart on the same inputs. Outputs are paired by name; where the names differ and
 * their number does not, by their order.
 * @param a the reference
 * @param inputs batches of `pixel_values`, each `[N, C, H, W]`
 * @throws UserError when the two give different outputs, or something that is no number
 */
export async function compareModels(
  engine: Engine,
  a: Graph | Uint8Array | string,
  b: Graph | Uint8Array | string,
  inputs: Iterable<Tensor> | AsyncIterable<Tensor>,
  options: CompareOptions = {},
): Promise<Agreement> {
  const { progress = silent, signal, threads } = options;
  const first = await loadImageModel(engine, a, threads);
  try {
    const second = await loadImageModel(engine, b, threads);
    const task = progress.task('compare', options.images ?? 0, 'images');
    try {
      const pairs = pairedOutputs(first.outputs, second.outputs).map((names) => new Pair(...names));
      const scores = options.classifier
        ? (pairs.find(({ name }) => name === 'logits') ?? pairs[0])
        : undefined;
      let samples = 0;
      for await (const pixels of inputs) {
        signal?.throwIfAborted();
        const [x, y] = [await first.run(pixels), await second.run(pixels)];
        for (const pair of pairs) pair.add(x[pair.name]!, y[pair.other]!);
        scores?.countSame(x[scores.name]!, y[scores.other]!);
        samples += pixels.shape[0]!;
        task.update(samples);
      }
      if (samples === 0) throw new UserError('nothing to compare the models on');
      const outputs = pairs.map((pair) => pair.difference);
      return {
        maxAbs: Math.max(...outputs.map(({ maxAbs }) => maxAbs)),
        relative: Math.max(...outputs.map(({ relative }) => relative)),
        agreement: scores ? scores.same / samples : null,
        samples,
        outputs,
      };
    } finally {
      task.done();
      await second.dispose();
    }
  } finally {
    await first.dispose();
  }
}

function pairedOutputs(first: readonly string[], second: readonly string[]): [string, string][] {
  if (first.length !== second.length) {
    throw new UserError(
      `the models don't compare: one gives ${first.join(', ')}, the other ${second.join(', ')}`,
    );
  }
  const byName = first.every((name) => second.includes(name));
  return first.map((name, i) => [name, byName ? name : second[i]!]);
}

/** An output of both models, and how far it was apart so far. */
class Pair {
  same = 0;
  #maxAbs = 0;
  #largest = 0;

  constructor(
    readonly name: string,
    readonly other: string,
  ) {}

  add(x: Tensor, y: Tensor): void {
    if (`${x.dtype}[${x.shape}]` !== `${y.dtype}[${y.shape}]`) {
      throw new UserError(
        `the models don't compare: one gives ${this.name} ${x.dtype} [${x.shape}], the other ${y.dtype} [${y.shape}]`,
      );
    }
    const [p, q] = [numbersOf(x, this.name, 'first'), numbersOf(y, this.name, 'second')];
    for (let i = 0; i < p.length; i++) {
      this.#maxAbs = Math.max(this.#maxAbs, Math.abs(p[i]! - q[i]!));
      this.#largest = Math.max(this.#largest, Math.abs(p[i]!));
    }
  }

  /** @param x float32 `[N, classes]` */
  countSame(x: Tensor, y: Tensor): void {
    const classes = x.shape.at(-1)!;
    for (let start = 0; start < x.size; start += classes) {
      if (argMax(x.floats, start, classes) === argMax(y.floats, start, classes)) this.same++;
    }
  }

  /** Two outputs of only zeros agree; any difference from zeros is infinitely large. */
  get difference(): OutputDifference {
    const relative = this.#maxAbs === 0 ? 0 : this.#maxAbs / this.#largest;
    return { name: this.name, maxAbs: this.#maxAbs, relative };
  }
}

function numbersOf(tensor: Tensor, name: string, which: string): ArrayLike<number> {
  if (tensor.dtype !== 'float32') return tensor.integers;
  if (!tensor.floats.every(Number.isFinite)) {
    throw new UserError(
      `the ${which} model's output ${name} is not all finite numbers; it overflows or is damaged`,
    );
  }
  return tensor.floats;
}

/** Batches of standard normal pixels, as normalized images roughly are; the same for the same seed. */
export function* randomInputs(
  shape: readonly [channels: number, height: number, width: number],
  options: { images: number; batchSize: number; seed: number },
): Generator<Tensor> {
  const random = new Random(options.seed);
  for (let done = 0; done < options.images; done += options.batchSize) {
    const rows = Math.min(options.batchSize, options.images - done);
    const data = Float32Array.from({ length: rows * elementCount(shape) }, () => random.normal());
    yield Tensor.float32([rows, ...shape], data);
  }
}
