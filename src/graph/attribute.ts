import { UserError } from '../common/errors.ts';
import type { Attribute, AttributeInput } from './types.ts';

export type { Attribute, AttributeInput } from './types.ts';

/** A float attribute (a bare number would be taken for an int). */
export const float = (value: number): Attribute => ({ kind: 'float', value });

/** The attribute that a short form stands for. @throws UserError on a bare number that is no integer */
export function toAttribute(input: AttributeInput): Attribute {
  if (typeof input === 'number') {
    if (!Number.isInteger(input))
      throw new UserError(`attribute ${input} is not an integer; wrap it in float()`);
    return { kind: 'int', value: input };
  }
  if (typeof input === 'string') return { kind: 'string', value: input };
  if (Array.isArray(input)) return { kind: 'ints', value: input as readonly number[] };
  return input as Attribute;
}
