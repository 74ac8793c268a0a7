import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { raiseOpset } from '../graph/raise-opset.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { type FakeQuantization, fakeQuantize } from '../quantize/fake.ts';
import { layersToQuantize } from '../quantize/layers.ts';
import { assertFullPrecision } from '../quantize/record.ts';
import { logitsOutput } from '../runtime/image-input.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { argMax } from './classifier.ts';
import { loadImageModel } from './image-model.ts';

/** What int8 in one layer alone does to a model. */
export interface LayerSensitivity {
  /** Of the weight. */
  readonly layer: string;
  /** Numbers in the weight. */
  readonly parameters: number;
  /** Of the model's outputs, the worst of them: the norm of what changes over their own. */
  readonly relative: number;
  /** Share of images for which the same class comes first; null where the model is no classifier. */
  readonly agreement: number | null;
  /** Points of top-1 that are lost; null without labels. */
  readonly drop: number | null;
}

export interface Sensitivity {
  /** The most sensitive first. */
  readonly layers: readonly LayerSensitivity[];
  /** All layers at once. */
  readonly all: Omit<LayerSensitivity, 'layer'>;
  readonly samples: number;
}

export interface SensitivityOptions extends FakeQuantization {
  /** It tells classes apart. */
  classifier?: boolean;
  threads?: number;
  progress?: Progress;
  /** How many images there are to come, for the progress bar. */
  images?: number;
  signal?: AbortSignal;
}

/** Images, and what they show where that is known. */
export interface SomeImages {
  readonly pixels: Tensor;
  readonly labels?: Tensor;
}

/**
 * Ranks the layers of a float32 model by what int8 in each alone does to its outputs. One session computes all: in float32,
 * with the numbers of int8 behind a switch for each weight.
 * @throws UserError when the model is quantized already or has nothing to quantize, or there are no images
 */
export async function layerSensitivity(
  engine: Engine,
  source: Graph,
  batches: AsyncIterable<SomeImages> | Iterable<SomeImages>,
  { classifier, threads, progress = silent, images = 0, signal, ...numbers }: SensitivityOptions,
): Promise<Sensitivity> {
  assertFullPrecision(source);
  const { graph, weights } = switchedGraph(source, numbers);
  const model = await loadImageModel(engine, graph, threads, [switchesName]);
  const task = progress.task('Sensitivity', images * weights.length, 'images x layers');
  try {
    const scores = classifier ? logitsOutput(model) : undefined;
    const alone = weights.map(() => new Change(scores));
    const together = new Change(scores);
    let samples = 0;
    for await (const { pixels, labels } of batches) {
      const run = (on: (weight: number) => boolean) =>
        model.run(pixels, undefined, { [switchesName]: switches(weights.length, on) });
      const exact = await run(() => false);
      for (const [i, change] of alone.entries()) {
        signal?.throwIfAborted();
        change.add(exact, await run((weight) => weight === i), labels?.integers);
        task.update(samples * weights.length + (i + 1) * pixels.shape[0]!);
      }
      together.add(exact, await run(() => true), labels?.integers);
      samples += pixels.shape[0]!;
    }
    if (samples === 0) throw new UserError('sensitivity needs images, and there are none');
    const layers = weights.map(({ name, staticShape }, i) => ({
      layer: name,
      parameters: elementCount(staticShape),
      ...alone[i]!.over(samples),
    }));
    const parameters = layers.reduce((sum, layer) => sum + layer.parameters, 0);
    layers.sort((a, b) => b.relative - a.relative);
    return { layers, all: { parameters, ...together.over(samples) }, samples };
  } finally {
    task.done();
    await model.dispose();
  }
}

const switchesName = 'pqv.switches';

/** The model in float32 with an input that says which weights, and what is multiplied with them, have int8's numbers. */
function switchedGraph(source: Graph, numbers: FakeQuantization): { graph: Graph; weights: Value[] } {
  const { graph } = source.clone();
  raiseOpset(graph, switchOpset);
  const { layers } = layersToQuantize(graph, numbers);
  const weights = [...new Set(layers.map(({ weight }) => weight))];
  const input = graph.addInput(switchesName, 'bool', [weights.length]);
  const at = (index: number) => (b: Builder) => b.op('Gather', [input, Tensor.scalar(index, 'int64')]);
  fakeQuantize(graph, { ...numbers, switches: new Map(weights.map(({ name }, i) => [name, at(i)])) });
  return { graph, weights };
}

/** What `fakeQuantize` asks for. */
const switchOpset = 18;

const switches = (count: number, on: (weight: number) => boolean): Tensor =>
  new Tensor(
    'bool',
    [count],
    Uint8Array.from({ length: count }, (_, i) => Number(on(i))),
  );

/** What changes between two models over all images. */
class Change {
  readonly #scores: string | undefined;
  readonly #squares = new Map<string, { off: number; all: number }>();
  #same = 0;
  #lost: number | undefined = 0;

  /** @param scores the output that tells classes apart */
  constructor(scores: string | undefined) {
    this.#scores = scores;
  }

  add(exact: Tensors, changed: Tensors, labels: readonly number[] | undefined): void {
    for (const [name, output] of Object.entries(exact)) {
      if (output.dtype !== 'float32') continue;
      const { floats } = output;
      const sums = this.#squares.get(name) ?? { off: 0, all: 0 };
      this.#squares.set(name, sums);
      const others = changed[name]!.floats;
      for (let i = 0; i < floats.length; i++) {
        sums.off += (others[i]! - floats[i]!) ** 2;
        sums.all += floats[i]! ** 2;
      }
    }
    if (!labels) this.#lost = undefined;
    if (this.#scores === undefined) return;
    const [before, after] = [exact, changed].map((outputs) => outputs[this.#scores!]!) as [Tensor, Tensor];
    const [images = 0, classes = 0] = before.shape;
    for (let row = 0; row < images; row++) {
      const first = argMax(before.floats, row * classes, classes);
      const second = argMax(after.floats, row * classes, classes);
      this.#same += Number(first === second);
      if (this.#lost !== undefined) {
        this.#lost += Number(first === labels![row]) - Number(second === labels![row]);
      }
    }
  }

  over(samples: number): Pick<LayerSensitivity, 'relative' | 'agreement' | 'drop'> {
    const shares = [...this.#squares.values()].map(({ off, all }) => (off === 0 ? 0 : Math.sqrt(off / all)));
    const classifies = this.#scores !== undefined;
    return {
      relative: Math.max(0, ...shares),
      agreement: classifies ? this.#same / samples : null,
      drop: classifies && this.#lost !== undefined ? (100 * this.#lost) / samples : null,
    };
  }
}
