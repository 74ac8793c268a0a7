import { UserError } from '../common/errors.ts';
import type { Graph } from './graph.ts';
import type { Tensor } from './tensor.ts';

/** A node's attribute, by ONNX kind. `opaque` carries kinds the graph does not interpret, unchanged. */
export type Attribute = (
  | { kind: 'float'; value: number }
  | { kind: 'int'; value: number | bigint }
  | { kind: 'string'; value: string | Uint8Array }
  | { kind: 'tensor'; value: Tensor }
  | { kind: 'graph'; value: Graph }
  | { kind: 'floats'; value: readonly number[] }
  | { kind: 'ints'; value: readonly (number | bigint)[] }
  | { kind: 'strings'; value: readonly (string | Uint8Array)[] }
  | { kind: 'opaque'; value: unknown }
) & {
  /** What a file said about this attribute that the graph does not model. */
  carried?: unknown;
};

/** The value type of each attribute kind. */
export type AttributeValue = { [K in Attribute['kind']]: Extract<Attribute, { kind: K }>['value'] };

/** Short form for writing attributes: a whole number is an int, `number[]` ints, a string a string. */
export type AttributeInput = number | string | readonly number[] | Attribute;

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
