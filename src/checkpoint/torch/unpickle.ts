import { UserError } from '../../common/errors.ts';
import { Call, Float, Global, Persistent, type Pickled, Tuple, tuple } from './pickle.ts';

/** Bytes that a pickle is read from, in pieces: the one in front of a legacy checkpoint does not say its length. */
interface PickleBytes {
  readonly size: number;
  read(offset: number, length: number): Uint8Array;
}

/**
 * Steps that a pickle may take. A state dict takes some fifty a tensor; beyond a million somebody wants to use up
 * our memory, as each byte may stand for an empty dict.
 */
const stepLimit = 1_000_000;
/** Bytes of a whole number. Python's hash of a file would fit; the time to read one grows with the square. */
const longLimit = 256;
/** Characters of the name of a module or class. */
const lineLimit = 1024;
/** Bytes that are asked for at a time. */
const windowBytes = 1 << 16;

/**
 * Reads a binary pickle (protocols 2 to 5, as torch.save and TorchScript write) into plain data. A
 * parser, not an unpickler: globals stay names, calls stay descriptions, nothing is executed. What comes back may
 * share parts and hold itself: whoever walks it must remember where it was.
 * @throws UserError when it is truncated, damaged, takes more steps than any checkpoint, or uses an opcode that
 *   such files have no need of
 */
export function readPickle(bytes: Uint8Array): Pickled {
  const read = (offset: number, length: number) => bytes.subarray(offset, offset + length);
  return readPickleAt({ size: bytes.length, read }, 0).value;
}

/**
 * The pickle that begins at a place in a file, and where it ends.
 * @throws UserError as `readPickle`
 */
export function readPickleAt(source: PickleBytes, start: number): { value: Pickled; end: number } {
  const machine = new Machine(source, start);
  for (let steps = 0; ; steps++) {
    if (steps === stepLimit) throw machine.damaged(`takes more than ${stepLimit} steps`);
    const at = machine.at;
    const code = machine.byte();
    if (code === stop) return { value: machine.pop(), end: machine.at };
    const step = opcodes.get(code);
    if (!step) throw machine.damaged(`has an opcode 0x${code.toString(16)} that is not read here`, at);
    step(machine);
  }
}

const stop = 0x2e;
const mark = Symbol('mark');
type Item = Pickled | typeof mark;
const utf8 = new TextDecoder();

class Machine {
  readonly memo = new Map<number, Pickled>();
  at: number;
  readonly #source: PickleBytes;
  readonly #stack: Item[] = [];
  /** What was read of the source, and where it begins. */
  #window: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#window.buffer);
  #from = 0;

  constructor(source: PickleBytes, start: number) {
    this.#source = source;
    this.at = start;
  }

  damaged(what: string, at = this.at): UserError {
    return new UserError(`damaged pickle: it ${what} at byte ${at}`);
  }

  push(item: Item): void {
    this.#stack.push(item);
  }

  pop(): Pickled {
    const item = this.#stack.pop();
    if (item === undefined || item === mark) throw this.damaged('takes a value that is not there');
    return item;
  }

  top(): Pickled {
    const item = this.pop();
    this.push(item);
    return item;
  }

  /** Everything above the last mark; the mark goes too. */
  popMarked(): Pickled[] {
    const from = this.#stack.lastIndexOf(mark);
    if (from < 0) throw this.damaged('takes a mark that is not there');
    const items = this.#stack.splice(from);
    return items.slice(1) as Pickled[];
  }

  drop(): void {
    if (this.#stack.pop() === undefined) throw this.damaged('drops a value that is not there');
  }

  /** The next `length` bytes. */
  take(length: number): Uint8Array {
    const from = this.#advance(length);
    return this.#window.subarray(from, from + length);
  }

  text(length: number): string {
    return utf8.decode(this.take(length));
  }

  line(): string {
    for (let length = 0; length <= lineLimit; length++) {
      if (this.byte() !== 10) continue;
      this.at -= length + 1;
      const text = this.text(length);
      this.at++;
      return text;
    }
    throw this.damaged('has a name without end');
  }

  byte = () => this.#number(1, (view, at) => view.getUint8(at));
  u16 = () => this.#number(2, (view, at) => view.getUint16(at, true));
  u32 = () => this.#number(4, (view, at) => view.getUint32(at, true));
  i32 = () => this.#number(4, (view, at) => view.getInt32(at, true));
  f64 = () => this.#number(8, (view, at) => view.getFloat64(at, false));
  u64 = () => {
    const value = this.#number(8, (view, at) => view.getBigUint64(at, true));
    if (value > BigInt(this.#source.size)) throw this.damaged('is truncated');
    return Number(value);
  };

  /** A two's complement integer of `length` bytes, as a number where it is exact. */
  long(length: number): number | bigint {
    if (length > longLimit) throw this.damaged(`has a whole number of ${length} bytes`);
    let value = 0n;
    const bytes = this.take(length);
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    value = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  recall(key: number): void {
    const item = this.memo.get(key);
    if (item === undefined) throw this.damaged(`recalls value ${key} that was not kept`);
    this.push(item);
  }

  args(): Tuple {
    const value = this.pop();
    if (!(value instanceof Tuple)) throw this.damaged('calls something with arguments that are no tuple');
    return value;
  }

  append(target: Pickled, items: readonly Pickled[]): void {
    const list = target instanceof Call ? target.items : target;
    if (!Array.isArray(list)) throw this.damaged('appends to something that is no list');
    for (const item of items) list.push(item);
  }

  put(target: Pickled, flat: readonly Pickled[]): void {
    const entries = target instanceof Map ? target : target instanceof Call ? target.entries : undefined;
    if (!entries || flat.length % 2) throw this.damaged('sets items of something that is no dict');
    for (let i = 0; i < flat.length; i += 2) entries.set(flat[i]!, flat[i + 1]!);
  }

  dict(flat: readonly Pickled[]): Map<Pickled, Pickled> {
    const made = new Map<Pickled, Pickled>();
    this.put(made, flat);
    return made;
  }

  #number<T>(length: number, read: (view: DataView, at: number) => T): T {
    const at = this.#advance(length);
    return read(this.#view, at);
  }

  /** Steps over some bytes, which are in the window then; returns where in it they begin. */
  #advance(length: number): number {
    const { at } = this;
    if (at + length > this.#source.size) throw this.damaged('is truncated');
    this.at += length;
    const end = this.#from + this.#window.length;
    if (at < this.#from || this.at > end) {
      this.#from = at;
      this.#window = this.#source.read(at, Math.min(Math.max(length, windowBytes), this.#source.size - at));
      this.#view = new DataView(this.#window.buffer, this.#window.byteOffset, this.#window.byteLength);
    }
    return at - this.#from;
  }
}

type Step = (m: Machine) => void;

const code = (character: string): number => character.charCodeAt(0);

/** The machine's opcodes by number, grouped as Python's pickletools documents them. */
const opcodes = new Map<number, Step>([
  [0x80, (m) => m.take(1)],
  [0x95, (m) => m.take(8)],

  [code('N'), (m) => m.push(null)],
  [0x88, (m) => m.push(true)],
  [0x89, (m) => m.push(false)],
  [code('K'), (m) => m.push(m.byte())],
  [code('M'), (m) => m.push(m.u16())],
  [code('J'), (m) => m.push(m.i32())],
  [0x8a, (m) => m.push(m.long(m.byte()))],
  [0x8b, (m) => m.push(m.long(m.u32()))],
  [code('G'), (m) => m.push(new Float(m.f64()))],

  [code('X'), (m) => m.push(m.text(m.u32()))],
  [0x8c, (m) => m.push(m.text(m.byte()))],
  [0x8d, (m) => m.push(m.text(m.u64()))],
  [code('U'), (m) => m.push(m.text(m.byte()))],
  [code('T'), (m) => m.push(m.text(m.u32()))],
  [code('C'), (m) => m.push(m.take(m.byte()).slice())],
  [code('B'), (m) => m.push(m.take(m.u32()).slice())],
  [0x8e, (m) => m.push(m.take(m.u64()).slice())],

  [code(')'), (m) => m.push(tuple())],
  [code('t'), (m) => m.push(new Tuple(m.popMarked()))],
  [0x85, (m) => m.push(tuple(m.pop()))],
  [0x86, (m) => pushTuple(m, 2)],
  [0x87, (m) => pushTuple(m, 3)],
  [code(']'), (m) => m.push([])],
  [code('l'), (m) => m.push(m.popMarked())],
  [code('}'), (m) => m.push(new Map())],
  [code('d'), (m) => m.push(m.dict(m.popMarked()))],
  [
    code('a'),
    (m) => {
      const item = m.pop();
      m.append(m.top(), [item]);
    },
  ],
  [
    code('e'),
    (m) => {
      const items = m.popMarked();
      m.append(m.top(), items);
    },
  ],
  [
    code('s'),
    (m) => {
      const value = m.pop();
      const key = m.pop();
      m.put(m.top(), [key, value]);
    },
  ],
  [
    code('u'),
    (m) => {
      const flat = m.popMarked();
      m.put(m.top(), flat);
    },
  ],

  // A set is a list whose order says nothing.
  [0x8f, (m) => m.push([])],
  [
    0x90,
    (m) => {
      const items = m.popMarked();
      m.append(m.top(), items);
    },
  ],
  [0x91, (m) => m.push(m.popMarked())],

  [code('('), (m) => m.push(mark)],
  [code('0'), (m) => m.drop()],
  [code('1'), (m) => m.popMarked()],
  [code('2'), (m) => m.push(m.top())],

  [code('q'), (m) => m.memo.set(m.byte(), m.top())],
  [code('r'), (m) => m.memo.set(m.u32(), m.top())],
  [0x94, (m) => m.memo.set(m.memo.size, m.top())],
  [code('h'), (m) => m.recall(m.byte())],
  [code('j'), (m) => m.recall(m.u32())],

  [code('c'), (m) => m.push(new Global(m.line(), m.line()))],
  [0x93, pushNamedGlobal],
  [code('R'), (m) => pushCall(m, false)],
  [0x81, (m) => pushCall(m, true)],
  [
    0x92,
    (m) => {
      m.pop();
      pushCall(m, true);
    },
  ],
  [code('b'), build],
  [code('Q'), (m) => m.push(new Persistent(m.pop()))],
]);

function pushTuple(m: Machine, count: number): void {
  const items = Array.from({ length: count }, () => m.pop());
  m.push(new Tuple(items.reverse()));
}

function pushNamedGlobal(m: Machine): void {
  const name = m.pop();
  const module = m.pop();
  if (typeof name !== 'string' || typeof module !== 'string') throw m.damaged('names a global by no string');
  m.push(new Global(module, name));
}

function pushCall(m: Machine, isInstance: boolean): void {
  const args = m.args();
  m.push(new Call(m.pop(), args, isInstance));
}

function build(m: Machine): void {
  const state = m.pop();
  const target = m.top();
  if (!(target instanceof Call)) throw m.damaged('gives a state to something that is no object');
  target.state = state;
}
