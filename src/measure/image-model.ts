import type { Graph } from '../graph/graph.ts';
import { type DataType, type NumericType, Tensor } from '../graph/tensor.ts';
import { castTensors } from '../quantize/cast.ts';
import { fixedBatches } from '../runtime/fixed-batch.ts';
import { imageInput } from '../runtime/image-input.ts';
import type { Engine, Tensors } from '../runtime/session.ts';

/** A loaded model that takes images. */
export interface ImageModel {
  readonly outputs: readonly string[];
  /**
   * @param pixels float32 `[N, C, H, W]`, in as many runs as the model's batch size asks for; cast when it takes float16
   * @param wanted outputs, default all
   * @param settings for the inputs that take no images
   * @returns the outputs by name, those of floating point as float32
   */
  run(pixels: Tensor, wanted?: readonly string[], settings?: Tensors): Promise<Tensors>;
  dispose(): Promise<void>;
}

/**
 * Loads a model that takes images: in its input `pixel_values`, or the only one.
 * @param settings inputs of another kind, which `run` is given
 * @throws UserError when it can't be told which input that is
 */
export async function loadImageModel(
  engine: Engine,
  model: Graph | Uint8Array | string,
  threads?: number,
  settings: readonly string[] = [],
): Promise<ImageModel> {
  const session = await engine.load(model, threads ? { threads } : {});
  try {
    const inputs = session.inputs.filter((name) => !settings.includes(name));
    const input = imageInput({ inputs });
    const { dtype, shape } = session.inputSignatures[input]!;
    const runBatch = async (batch: Tensor, wanted: readonly string[], given: Tensors) => {
      const image = await cast(engine, batch, dtype as NumericType);
      const results = await session.run({ ...given, [input]: image }, wanted);
      for (const name of wanted) {
        if (halves.has(results[name]!.dtype)) results[name] = await cast(engine, results[name]!, 'float32');
      }
      return results;
    };
    return {
      outputs: session.outputs,
      async run(pixels, wanted = session.outputs, given = {}) {
        const parts: { results: Tensors; images: number; size: number }[] = [];
        for (const { batch, images } of fixedBatches(pixels, shape[0])) {
          parts.push({ results: await runBatch(batch, wanted, given), images, size: batch.shape[0]! });
        }
        if (parts.length === 1 && parts[0]!.images === parts[0]!.size) return parts[0]!.results;
        return Object.fromEntries(wanted.map((name) => [name, joined(name, parts)]));
      },
      dispose: () => session.dispose(),
    };
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

const halves: ReadonlySet<DataType> = new Set(['float16', 'bfloat16', 'float64']);

async function cast(engine: Engine, tensor: Tensor, to: NumericType): Promise<Tensor> {
  return tensor.dtype === to ? tensor : (await castTensors(engine, [tensor], to))[0]!;
}

/** The rows of the images that were asked for: a batch that was filled up gives more. */
function joined(name: string, parts: readonly { results: Tensors; images: number; size: number }[]): Tensor {
  const pieces: Float32Array[] = [];
  let rows = 0;
  for (const { results, images, size } of parts) {
    const { shape, floats } = results[name]!;
    const mine = Math.round(((shape[0] ?? 0) * images) / size);
    pieces.push(floats.subarray(0, (floats.length / (shape[0] ?? 1)) * mine));
    rows += mine;
  }
  const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return Tensor.float32([rows, ...parts[0]!.results[name]!.shape.slice(1)], all);
}
