import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { fixedBatches } from '../runtime/fixed-batch.ts';
import type { Engine, Session, Tensors } from '../runtime/session.ts';
import { type Observer, type ObserverName, observers } from './observers.ts';

/** Batches of images as the model takes them, `[N, C, H, W]`; a loader's batches are that. */
export type CalibrationData = AsyncIterable<{ readonly pixels: Tensor }> & {
  /** Batches, where it is known. */
  readonly length?: number;
};

export interface CalibrateOptions {
  data: CalibrationData;
  observer: ObserverName;
  progress?: Progress;
}

/** Activations that leave the engine in one run, at most (unless one image has more). */
const activationBytes = 128 << 20;

/**
 * Runs the model over the data once and lets an observer watch each of the named values. Extremes are
 * found inside the engine. Observers that count are given the activations of a few images at a time,
 * in buffers that are used again, and count here: measured, a plain loop is three to six times as fast
 * as ScatterElements.
 *
 * @param names float32 values of the graph, each once
 * @throws UserError when there are no data, they don't fit the model, or activations are infinite or
 *   not a number
 */
export async function calibrate(
  engine: Engine,
  source: Graph,
  names: readonly string[],
  { data, observer, progress = silent }: CalibrateOptions,
): Promise<Map<string, Observer>> {
  const kind = observers[observer];
  const watching = new Map<string, Observer>(names.map((name) => [name, kind.create()]));
  const { graph, watched } = observedGraph(source, names, kind.counts);
  const input = graph.inputs[0]!;
  const session = await engine.load(graph);
  const task = progress.task('Calibrating', data.length ?? 0, 'batches');
  const size = input.shape?.[0];
  const runs = new Runs(session, input.name, typeof size === 'number' ? size : undefined);
  let batches = 0;
  try {
    for await (const { pixels } of data) {
      for await (const result of runs.over(pixels)) {
        const statistics = result[statisticsName]!.floats;
        if (!statistics.every(Number.isFinite)) {
          const at = Math.floor(statistics.findIndex((value) => !Number.isFinite(value)) / 2);
          const which = names[at] ?? 'the output';
          throw new UserError(`calibration batch ${batches}: ${which} is infinite or not a number`);
        }
        names.forEach((name, i) => {
          const range = { min: statistics[2 * i]!, max: statistics[2 * i + 1]! };
          watching.get(name)!.observe(range, result[watched[i] ?? '']?.floats);
        });
      }
      task.update(++batches);
    }
  } finally {
    task.done();
    await session.dispose();
  }
  if (batches === 0) throw new UserError('static quantization needs --data with at least one image');
  return watching;
}

const statisticsName = 'pqv.statistics';

/**
 * The model with one output more: min and max of each value, then a number that is finite when the
 * model's own outputs are. With `fetch`, the values are outputs too.
 */
function observedGraph(source: Graph, names: readonly string[], fetch: boolean) {
  const { graph } = source.clone();
  const b = new Builder(graph);
  const one = Tensor.int64([1]);
  const values = names.map((name) => graph.find(name)!);
  const extremes = values.flatMap((value) => [
    b.op('ReduceMin', [value], { keepdims: 0 }),
    b.op('ReduceMax', [value], { keepdims: 0 }),
  ]);
  const sound = graph.outputs
    .filter(({ dtype }) => dtype === 'float32')
    .map((value) => b.op('ReduceSum', [b.op('Mul', [value, b.scalar(0)])], { keepdims: 0 }));
  const parts = [...extremes, ...sound].map((value) => b.op('Reshape', [value, one]));
  const watched = fetch ? values.map((value) => b.op('Identity', [value])) : [];
  graph.outputs.splice(0, Infinity, b.op('Concat', parts, { axis: 0 }, statisticsName), ...watched);
  return { graph, watched: watched.map((value) => value.name) };
}

/** Runs batches in slices whose outputs stay under a limit, into the same buffers where shapes repeat. */
class Runs {
  readonly #session: Session;
  readonly #input: string;
  /** The one batch size that the model takes. */
  readonly #fixed: number | undefined;
  #bytesPerImage: number | undefined;
  #buffers: { images: number; outputs: Tensors } | undefined;

  constructor(session: Session, input: string, fixed: number | undefined) {
    this.#session = session;
    this.#input = input;
    this.#fixed = fixed;
  }

  async *over(pixels: Tensor): AsyncGenerator<Tensors> {
    if (this.#fixed !== undefined) {
      for (const { batch } of fixedBatches(pixels, this.#fixed)) yield await this.#run(batch);
      return;
    }
    const [images = 0, ...shape] = pixels.shape;
    const size = pixels.size / images;
    for (let from = 0; from < images; ) {
      const to = Math.min(images, from + this.#imagesPerRun());
      const slice = pixels.floats.subarray(from * size, to * size);
      yield await this.#run(Tensor.float32([to - from, ...shape], slice));
      from = to;
    }
  }

  /** One to begin with, to see how large its activations are. */
  #imagesPerRun(): number {
    if (this.#bytesPerImage === undefined) return 1;
    return Math.max(1, Math.floor(activationBytes / this.#bytesPerImage));
  }

  async #run(pixels: Tensor): Promise<Tensors> {
    const images = pixels.shape[0]!;
    if (this.#buffers?.images !== images) this.#buffers = undefined;
    const outputs = await this.#session.run({ [this.#input]: pixels }, this.#buffers?.outputs);
    const bytes = Object.values(outputs).reduce((sum, output) => sum + output.bytes.length, 0);
    this.#bytesPerImage ??= bytes / images;
    this.#buffers = { images, outputs };
    return outputs;
  }
}
