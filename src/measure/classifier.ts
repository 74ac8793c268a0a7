import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { type NumericType, Tensor } from '../graph/tensor.ts';
import { castTensors } from '../quantize/cast.ts';
import { fixedBatches } from '../runtime/fixed-batch.ts';
import { imageInput, logitsOutput } from '../runtime/image-input.ts';
import type { Engine } from '../runtime/session.ts';

/** A loaded model that tells images apart. */
export interface Classifier {
  /**
   * @param pixels float32 `[N, C, H, W]`, in as many runs as the model's batch size asks for; cast when it takes float16
   * @returns float32 `[N, classes]`
   * @throws UserError when what the model gives is no logits
   */
  logits(pixels: Tensor): Promise<Tensor>;
  dispose(): Promise<void>;
}

/**
 * Loads a model that takes images (its input `pixel_values`, or the only one) and gives scores of
 * classes (its output `logits`, or the only one).
 * @throws UserError when it can't be told which input or output that is
 */
export async function loadClassifier(
  engine: Engine,
  model: Graph | Uint8Array | string,
  threads?: number,
): Promise<Classifier> {
  const session = await engine.load(model, threads ? { threads } : {});
  try {
    const input = imageInput(session);
    const output = logitsOutput(session);
    const { dtype, shape } = session.inputSignatures[input]!;
    const logitsOf = async (pixels: Tensor) => {
      const results = await session.run({ [input]: await cast(engine, pixels, dtype as NumericType) }, [
        output,
      ]);
      const logits = results[output]!;
      const samples = pixels.shape[0]!;
      const [rows, classes] = logits.shape;
      const float = logits.dtype === 'float32' || logits.dtype === 'float16';
      if (!float || logits.shape.length !== 2 || rows !== samples || !classes) {
        throw new UserError(
          `the model gives ${logits.dtype} [${logits.shape}] for ${samples} images; expected float [${samples}, classes]`,
        );
      }
      return cast(engine, logits, 'float32');
    };
    return {
      async logits(pixels) {
        const parts: Float32Array[] = [];
        for (const { batch, images } of fixedBatches(pixels, shape[0])) {
          const { floats, shape } = await logitsOf(batch);
          parts.push(floats.subarray(0, images * shape[1]!));
        }
        const samples = pixels.shape[0]!;
        const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
        let at = 0;
        for (const part of parts) {
          all.set(part, at);
          at += part.length;
        }
        return Tensor.float32([samples, all.length / samples], all);
      },
      dispose: () => session.dispose(),
    };
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

async function cast(engine: Engine, tensor: Tensor, to: NumericType): Promise<Tensor> {
  return tensor.dtype === to ? tensor : (await castTensors(engine, [tensor], to))[0]!;
}

/** Index, from `start`, of the largest of `count` numbers, the first when several are equal. */
export function argMax(values: Float32Array, start: number, count: number): number {
  let best = 0;
  for (let i = 1; i < count; i++) if (values[start + i]! > values[start + best]!) best = i;
  return best;
}
