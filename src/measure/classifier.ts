import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { logitsOutput } from '../runtime/image-input.ts';
import type { Engine } from '../runtime/session.ts';
import { loadImageModel } from './image-model.ts';

/** A loaded model that tells images apart. */
export interface Classifier {
  /**
   * @param pixels float32 `[N, C, H, W]`
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
  const loaded = await loadImageModel(engine, model, threads);
  try {
    const output = logitsOutput(loaded);
    return {
      async logits(pixels) {
        const logits = (await loaded.run(pixels, [output]))[output]!;
        const samples = pixels.shape[0]!;
        const [rows, classes] = logits.shape;
        if (logits.dtype !== 'float32' || logits.shape.length !== 2 || rows !== samples || !classes) {
          throw new UserError(
            `the model gives ${logits.dtype} [${logits.shape}] for ${samples} images; expected float [${samples}, classes]`,
          );
        }
        return logits;
      },
      dispose: () => loaded.dispose(),
    };
  } catch (error) {
    await loaded.dispose();
    throw error;
  }
}

/** Index, from `start`, of the largest of `count` numbers, the first when several are equal. */
export function argMax(values: Float32Array, start: number, count: number): number {
  let best = 0;
  for (let i = 1; i < count; i++) if (values[start + i]! > values[start + best]!) best = i;
  return best;
}
