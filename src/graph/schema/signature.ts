import type { Node } from '../types.ts';
import { type OpArguments, operators } from './generated/operators.ts';

export type { OpArguments } from './generated/operators.ts';

/** An operator that the rule tables can have a row for, by its key in them (`Node.op`). */
export type OpName = keyof OpArguments;

/** What an argument is: an int, a float, a string, many of them, a tensor. */
export type Kind = 'i' | 'f' | 's' | 'I' | 'F' | 'S' | 't';

/** An input, attribute or output as one version of an operator declares it. */
export interface Formal {
  readonly name: string;
  /** Set for attributes and for inputs that are arguments (lengths, axes, bounds) rather than data. */
  readonly kind: Kind | undefined;
  readonly default: number | string | undefined;
  readonly optional: boolean;
  readonly variadic: boolean;
}

/** One version of an operator. */
export interface Signature {
  /** The first operator set it belongs to. */
  readonly since: number;
  readonly inputs: readonly Formal[];
  readonly attributes: readonly Formal[];
  readonly outputs: readonly Formal[];
}

/** `axis:i=-1`, `axes:I?`, `bias?`, `inputs*`. */
const notation = /^(\w+)(?::(\w))?([?*]?)(?:=(.*))?$/;

function formals(text: string): Formal[] {
  return text
    .split(' ')
    .filter(Boolean)
    .map((entry) => {
      const [, name, kind, mark, given] = notation.exec(entry)!;
      return {
        name: name!,
        kind: kind as Kind | undefined,
        default: given === undefined || kind === 's' ? given : Number(given),
        optional: mark === '?',
        variadic: mark === '*',
      };
    });
}

const known = new Map<OpName, readonly Signature[]>();

export const isOpName = (op: string): op is OpName => Object.hasOwn(operators, op);

/** Every operator that has a schema. */
export const opNames = Object.keys(operators) as OpName[];

/** All versions of an operator, oldest first. */
export function signaturesOf(op: OpName): readonly Signature[] {
  let found = known.get(op);
  if (!found) {
    found = operators[op].map(([since, inputs, attributes, outputs]) => ({
      since,
      inputs: formals(inputs),
      attributes: formals(attributes),
      outputs: formals(outputs),
    }));
    known.set(op, found);
  }
  return found;
}

/** The version of an operator in an operator set; undefined where the set is older than what is known. */
export const versionOf = (op: OpName, opset: number): Signature | undefined =>
  signaturesOf(op).findLast(({ since }) => since <= opset);

/** The version of its operator that a node is read by; undefined for an operator, or one of an age, without a schema. */
export function signatureOf(node: Node): Signature | undefined {
  return isOpName(node.op) ? versionOf(node.op, node.opset) : undefined;
}

/** A node's row in a rule table; undefined where there is none, or no schema to resolve its arguments by. */
export function rowOf<Table extends { readonly [O in OpName]?: unknown }>(
  table: Table,
  node: Node,
): Table[OpName] | undefined {
  return signatureOf(node) ? table[node.op as OpName] : undefined;
}

type Words<S extends string> = S extends `${infer First} ${infer Rest}` ? First | Words<Rest> : S;

/** One rule in the rows of several operators, named with a space between: `rowsFor('Add Sub', rule)`. */
export function rowsFor<S extends string, const Rule>(
  ops: Words<S> extends OpName ? S : never,
  rule: Rule,
): { [O in Words<S> & OpName]: Rule } {
  return Object.fromEntries(ops.split(' ').map((op) => [op, rule])) as { [O in Words<S> & OpName]: Rule };
}
