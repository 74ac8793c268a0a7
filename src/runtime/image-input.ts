import { UserError } from '../common/errors.ts';
import type { Session } from './session.ts';

type Inputs = Pick<Session, 'inputs'>;
type Outputs = Pick<Session, 'outputs'>;

/** The input that takes images: `pixel_values`, or the only one. @throws UserError when there are several */
export const imageInput = (session: Inputs): string => only('input', session.inputs, 'pixel_values');

/** The output that tells classes apart: `logits`, or the only one. @throws UserError when there are several */
export const logitsOutput = (session: Outputs): string => only('output', session.outputs, 'logits');

function only(kind: string, names: readonly string[], expected: string): string {
  if (names.includes(expected)) return expected;
  if (names.length === 1) return names[0]!;
  throw new UserError(`the model has the ${kind}s ${names.join(', ')}; one must be named ${expected}`);
}
