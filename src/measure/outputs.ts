import { UserError } from '../errors.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { Session } from '../runtime/session.ts';

/** The input that takes images: `pixel_values`, or the only one. @throws UserError when there are several */
export function imageInput(session: Session): string {
  return only('input', session.inputs, 'pixel_values');
}

/** The output that holds the scores of the classes: `logits`, or the only one. @throws UserError when there are several */
export function logitsOutput(session: Session): string {
  return only('output', session.outputs, 'logits');
}

function only(kind: string, names: readonly string[], expected: string): string {
  if (names.includes(expected)) return expected;
  if (names.length === 1) return names[0]!;
  throw new UserError(`the model has the ${kind}s ${names.join(', ')}; one must be named ${expected}`);
}

/** Rows and columns of a batch of logits. @throws UserError unless it is float32 `[samples, classes]` */
export function logitsShape(logits: Tensor, samples: number): [samples: number, classes: number] {
  const [rows, classes] = logits.shape;
  if (logits.dtype !== 'float32' || logits.shape.length !== 2 || rows !== samples || !classes) {
    throw new UserError(
      `the model gives ${logits.dtype} [${logits.shape}] for ${samples} images; expected float32 [${samples}, classes]`,
    );
  }
  return [rows, classes];
}

/** Index of the largest of `count` numbers from `start`, the first when several are equal; `start`-relative. */
export function argMax(values: Float32Array, start: number, count: number): number {
  let best = 0;
  for (let i = 1; i < count; i++) if (values[start + i]! > values[start + best]!) best = i;
  return best;
}
