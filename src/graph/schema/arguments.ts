import { UserError } from '../../common/errors.ts';
import { toAttribute } from '../attribute.ts';
import { Tensor } from '../tensor.ts';
import type { Attribute, Node, Value } from '../types.ts';
import {
  type Formal,
  type Kind,
  type OpArguments,
  type OpName,
  signatureOf,
  signaturesOf,
} from './signature.ts';

type Argument = number | string | readonly number[] | readonly string[] | Tensor | Value | undefined;

/**
 * A node's arguments by name, whichever version of the operator it is written in: an attribute, an input
 * that holds one, or the default. What is computed at run time is the value that will hold it
 * (`isComputed`); what may be left out, and is, is undefined.
 *
 * @throws UserError when one is asked for (not before) that the node lacks or has in another kind
 */
export function argumentsOf<O extends OpName>(node: Node): OpArguments[O] {
  return Object.create(prototypeOf(node.op as O), { node: { value: node } });
}

const prototypes = new Map<OpName, object>();

/** Getters for the arguments of all versions. */
function prototypeOf(op: OpName): object {
  let made = prototypes.get(op);
  if (!made) {
    const names = signaturesOf(op).flatMap(({ inputs, attributes }) =>
      [...inputs, ...attributes].filter(({ kind }) => kind).map(({ name }) => name),
    );
    made = Object.defineProperties(
      {},
      Object.fromEntries(
        names.map((name) => [
          name,
          {
            get(this: { node: Node }) {
              return resolve(this.node, name);
            },
          },
        ]),
      ),
    );
    prototypes.set(op, made);
  }
  return made;
}

function resolve(node: Node, name: string): Argument {
  const signature = signatureOf(node);
  if (!signature)
    throw new UserError(`${node.label}: operator set ${node.opset} is older than what is known of it`);
  const attribute = signature.attributes.find((formal) => formal.name === name);
  const index = signature.inputs.findIndex((formal) => formal.name === name);
  const formal = attribute ?? signature.inputs[index];
  let found: Argument;
  if (attribute) found = attributeValue(node, attribute);
  else if (index >= 0) found = inputValue(node.inputs[index], formal!.kind!);
  if (found !== undefined) return found;
  if (formal && !formal.optional && formal.default === undefined) {
    throw new UserError(`${node.label} lacks ${attribute ? 'attribute' : 'input'} ${name}`);
  }
  return formal?.default ?? defaultOf(node.op as OpName, name);
}

/** The default that any version gives; where an argument does not exist it is as if left out of the others. */
function defaultOf(op: OpName, name: string): Argument {
  for (const { attributes } of signaturesOf(op).toReversed()) {
    const found = attributes.find((formal) => formal.name === name);
    if (found?.default !== undefined) return found.default;
  }
  return undefined;
}

const attributeKinds: Record<Kind, Attribute['kind']> = {
  i: 'int',
  f: 'float',
  s: 'string',
  I: 'ints',
  F: 'floats',
  S: 'strings',
  t: 'tensor',
};

const text = (value: string | Uint8Array) =>
  typeof value === 'string' ? value : new TextDecoder().decode(value);

function attributeValue(node: Node, { name, kind }: Formal): Argument {
  const attribute = node.attributes.get(name);
  if (!attribute) return undefined;
  const wanted = attributeKinds[kind!];
  if (attribute.kind !== wanted) {
    throw new UserError(`${node.label}: attribute ${name} is ${attribute.kind}, expected ${wanted}`);
  }
  switch (attribute.kind) {
    case 'int':
      return Number(attribute.value);
    case 'ints':
      return attribute.value.map(Number);
    case 'string':
      return text(attribute.value);
    case 'strings':
      return attribute.value.map(text);
    default:
      return attribute.value as number | readonly number[] | Tensor;
  }
}

function inputValue(value: Value | undefined, kind: Kind): Argument {
  if (!value?.tensor) return value;
  const numbers = numbersOf(value.tensor);
  if (!numbers) return value;
  return kind === 'i' || kind === 'f' ? numbers[0] : numbers;
}

/** The elements of a constant as numbers; undefined for types whose bits JavaScript can't read as such. */
function numbersOf({ dtype, data }: Tensor): number[] | undefined {
  if (dtype === 'float16') return Array.from(data as Uint16Array, halfToNumber);
  const plain = /^(float32|float64|bool|u?int(8|16|32|64))$/.test(dtype);
  return plain ? Array.from(data as ArrayLike<number | bigint>, Number) : undefined;
}

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Is an argument found at run time only? It is then the value that will hold it. */
export const isComputed = (argument: Argument): argument is Value =>
  typeof argument === 'object' && 'uses' in argument;

/** An argument known beforehand. @throws UserError when it is computed at run time */
export function known<T extends Argument>(node: Node, argument: T, what: string): Exclude<T, Value> {
  if (isComputed(argument)) {
    throw new UserError(`${node.label}: ${what} while ${argument.name} is computed at run time`);
  }
  return argument as Exclude<T, Value>;
}

/** Whether the node says an argument itself, rather than leaving it to the default. */
export function isGiven(node: Node, name: string): boolean {
  if (node.attributes.has(name)) return true;
  const index = signatureOf(node)?.inputs.findIndex((formal) => formal.name === name) ?? -1;
  return index >= 0 && node.inputs[index] !== undefined;
}

/**
 * Changes arguments of a node, as its version has them: attributes, or constants as inputs. Undefined takes
 * one away.
 * @param constant makes a constant of the node's graph
 * @throws UserError when the node's version has no such argument
 */
export function setArguments<O extends OpName>(
  node: Node,
  changes: { readonly [N in keyof OpArguments[O]]?: readonly number[] | number | undefined },
  constant: (tensor: Tensor) => Value,
): void {
  const signature = signatureOf(node)!;
  for (const [name, given] of Object.entries(changes) as [string, readonly number[] | number | undefined][]) {
    const index = signature.inputs.findIndex((formal) => formal.name === name);
    const attribute = signature.attributes.find((formal) => formal.name === name);
    if (index >= 0) {
      const { kind } = signature.inputs[index]!;
      node.setInput(index, given === undefined ? undefined : constant(argumentTensor(name, kind!, given)));
    } else if (given === undefined) node.removeAttribute(name);
    else if (attribute) node.setAttribute(name, attributeOf(given, attribute.kind!));
    else throw new UserError(`${node.label}: operator set ${node.opset} has no ${name}`);
  }
}

const attributeOf = (given: readonly number[] | number, kind: Kind): Attribute =>
  kind === 'f' || kind === 'F'
    ? ({ kind: attributeKinds[kind], value: given } as Attribute)
    : toAttribute(given);

/** An argument as the constant that an input of this name and kind takes. */
export function argumentTensor(name: string, kind: Kind, given: readonly number[] | number | Tensor): Tensor {
  if (given instanceof Tensor) return given;
  // TopK wants its one count in a list.
  const shape = typeof given === 'number' ? (name === 'k' ? [1] : []) : [given.length];
  const values = typeof given === 'number' ? [given] : given;
  return kind === 'f' || kind === 'F' ? Tensor.float32(shape, values) : Tensor.int64(values, shape);
}
