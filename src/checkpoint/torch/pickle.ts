import { UserError } from '../../common/errors.ts';

/**
 * What a pickle says, as plain data: nothing is ever looked up, called or built. JavaScript has one
 * number type where Python has two, so a whole `number` (or a bigint) is an int and a float is a `Float`.
 */
export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Float
  | Tuple
  | Pickled[]
  | Map<Pickled, Pickled>
  | Global
  | Call
  | Persistent;

/** A Python float. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A Python tuple; a plain array is a list. */
export class Tuple {
  readonly items: readonly Pickled[];
  constructor(items: readonly Pickled[]) {
    this.items = items;
  }
}

export const tuple = (...items: readonly Pickled[]): Tuple => new Tuple(items);

/** A class or function by name: `torch._utils` `_rebuild_tensor_v2`. */
export class Global {
  readonly module: string;
  readonly name: string;
  constructor(module: string, name: string) {
    this.module = module;
    this.name = name;
  }

  toString(): string {
    return `${this.module}.${this.name}`;
  }
}

/**
 * An object that unpickling would make: a call of `callee` (REDUCE), or a new instance of it
 * (NEWOBJ), then perhaps given a state (BUILD), and items where it is a list or dict of its own kind.
 */
export class Call {
  readonly callee: Pickled;
  readonly args: Tuple;
  readonly instance: boolean;
  state: Pickled | undefined;
  readonly items: Pickled[] = [];
  readonly entries = new Map<Pickled, Pickled>();

  constructor(callee: Pickled, args: Tuple, instance = false, state?: Pickled) {
    this.callee = callee;
    this.args = args;
    this.instance = instance;
    this.state = state;
  }
}

/** Something stored outside the pickle, such as a tensor's storage. */
export class Persistent {
  readonly id: Pickled;
  constructor(id: Pickled) {
    this.id = id;
  }
}

/** A value and all that is in it, each once: parts may be shared, and a list may hold itself. */
export function* everyPart(value: Pickled): Generator<Pickled> {
  const seen = new Set<object>();
  const waiting: Pickled[] = [value];
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (typeof part === 'object' && part !== null) {
      if (seen.has(part)) continue;
      seen.add(part);
    }
    yield part;
    for (const inner of partsOf(part)) waiting.push(inner);
  }
}

function* partsOf(value: Pickled): Generator<Pickled> {
  if (Array.isArray(value)) yield* value;
  else if (value instanceof Tuple) yield* value.items;
  else if (value instanceof Map) {
    for (const entry of value) yield* entry;
  } else if (value instanceof Persistent) yield value.id;
  else if (value instanceof Call) {
    yield* [value.callee, value.args, value.items, value.entries];
    if (value.state !== undefined) yield value.state;
  }
}

/** An instance of a class with a state, without its constructor run. */
export const instance = (type: Global, state: Pickled): Call => new Call(type, tuple(), true, state);

/**
 * Pickles a value at protocol 2, in the opcodes that PyTorch's C++ unpickler knows (no memo, lists and
 * dicts filled by APPENDS and SETITEMS). Equal values give equal bytes.
 * @throws UserError on a number that is no int, or a value outside 64 bits
 */
export function writePickle(value: Pickled): Uint8Array {
  const out = new Writer();
  out.bytes(0x80, 2);
  write(out, value);
  out.bytes(op('.'));
  return out.finish();
}

const op = (character: string): number => character.charCodeAt(0);

function write(out: Writer, value: Pickled): void {
  if (value === null) out.bytes(op('N'));
  else if (typeof value === 'boolean') out.bytes(value ? 0x88 : 0x89);
  else if (typeof value === 'number' || typeof value === 'bigint') writeInt(out, value);
  else if (typeof value === 'string') {
    const text = new TextEncoder().encode(value);
    out.bytes(op('X'));
    out.u32(text.length);
    out.raw(text);
  } else if (value instanceof Float) {
    out.bytes(op('G'));
    out.f64BigEndian(value.value);
  } else if (value instanceof Tuple) writeTuple(out, value);
  else if (Array.isArray(value)) {
    out.bytes(op(']'));
    writeItems(out, value);
  } else if (value instanceof Map) {
    out.bytes(op('}'));
    writeEntries(out, value);
  } else if (value instanceof Global) {
    out.bytes(op('c'));
    out.raw(new TextEncoder().encode(`${value.module}\n${value.name}\n`));
  } else if (value instanceof Call) writeCall(out, value);
  else if (value instanceof Persistent) {
    write(out, value.id);
    out.bytes(op('Q'));
  } else throw new UserError('bytes have no form in a protocol 2 pickle');
}

function writeTuple(out: Writer, { items }: Tuple): void {
  if (items.length === 0) {
    out.bytes(op(')'));
    return;
  }
  out.bytes(op('('));
  for (const item of items) write(out, item);
  out.bytes(op('t'));
}

function writeItems(out: Writer, items: readonly Pickled[]): void {
  if (items.length === 0) return;
  out.bytes(op('('));
  for (const item of items) write(out, item);
  out.bytes(op('e'));
}

function writeEntries(out: Writer, entries: ReadonlyMap<Pickled, Pickled>): void {
  if (entries.size === 0) return;
  out.bytes(op('('));
  for (const [key, item] of entries) {
    write(out, key);
    write(out, item);
  }
  out.bytes(op('u'));
}

function writeCall(out: Writer, call: Call): void {
  write(out, call.callee);
  writeTuple(out, call.args);
  out.bytes(call.instance ? 0x81 : op('R'));
  writeItems(out, call.items);
  writeEntries(out, call.entries);
  if (call.state === undefined) return;
  write(out, call.state);
  out.bytes(op('b'));
}

function writeInt(out: Writer, value: number | bigint): void {
  if (typeof value === 'number' && !Number.isInteger(value)) {
    throw new UserError(`${value} is no int; wrap it in Float to pickle it`);
  }
  if (value >= 0 && value < 0x100) out.bytes(op('K'), Number(value));
  else if (value >= 0 && value < 0x10000) out.bytes(op('M'), Number(value) & 255, Number(value) >> 8);
  else if (value >= -0x80000000 && value < 0x80000000) {
    out.bytes(op('J'));
    out.u32(Number(value) >>> 0);
  } else {
    const wide = BigInt(value);
    if (BigInt.asIntN(64, wide) !== wide) throw new UserError(`${value} does not fit 64 bits`);
    out.bytes(0x8a, 8);
    out.i64(wide);
  }
}

/** Bytes that grow. */
class Writer {
  #buffer = new Uint8Array(1024);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;

  bytes(...values: readonly number[]): void {
    this.raw(values);
  }

  raw(values: ArrayLike<number>): void {
    const at = this.#grow(values.length);
    this.#buffer.set(values, at);
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }

  i64(value: bigint): void {
    const at = this.#grow(8);
    this.#view.setBigInt64(at, value, true);
  }

  f64BigEndian(value: number): void {
    const at = this.#grow(8);
    this.#view.setFloat64(at, value, false);
  }

  finish(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }

  /** Makes room; returns where it is. */
  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#buffer.length) {
      const bigger = new Uint8Array(Math.max(this.#length, 2 * this.#buffer.length));
      bigger.set(this.#buffer);
      this.#buffer = bigger;
      this.#view = new DataView(bigger.buffer);
    }
    return at;
  }
}
