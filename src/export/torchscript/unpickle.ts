import { UserError } from '../../common/errors.ts';
import { Call, Float, Global, Persistent, type Pickled, Tuple, tuple } from './pickle.ts';

/**
 * Reads a binary pickle (protocols 2 to 5, as torch.save and TorchScript write) into plain data. A
 * parser, not an unpickler: globals stay names, calls stay descriptions, nothing is executed.
 * @throws UserError when it is truncated, damaged, or uses an opcode that such files have no need of
 */
export function readPickle(bytes: Uint8Array): Pickled {
  const machine = new Machine(bytes);
  for (;;) {
    const at = machine.at;
    const code = machine.byte();
    if (code === stop) return machine.pop();
    const step = opcodes.get(code);
    if (!step) throw machine.damaged(`has an opcode 0x${code.toString(16)} that is not read here`, at);
    step(machine);
  }
}

const stop = 0x2e;
const mark = Symbol('mark');
type Item = Pickled | typeof mark;

class Machine {
  readonly memo = new Map<number, Pickled>();
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #stack: Item[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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
    return this.#bytes.subarray(from, from + length);
  }

  text(length: number): string {
    return new TextDecoder().decode(this.take(length));
  }

  line(): string {
    const end = this.#bytes.indexOf(10, this.at);
    if (end < 0) throw this.damaged('is truncated');
    const text = this.text(end - this.at);
    this.at = end + 1;
    return text;
  }

  byte = () => this.#view.getUint8(this.#advance(1));
  u16 = () => this.#view.getUint16(this.#advance(2), true);
  u32 = () => this.#view.getUint32(this.#advance(4), true);
  i32 = () => this.#view.getInt32(this.#advance(4), true);
  f64 = () => this.#view.getFloat64(this.#advance(8), false);
  u64 = () => {
    const value = this.#view.getBigUint64(this.#advance(8), true);
    if (value > BigInt(this.#bytes.length)) throw this.damaged('is truncated');
    return Number(value);
  };

  /** A two's complement integer of `length` bytes, as a number where it is exact. */
  long(length: number): number | bigint {
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

  #advance(length: number): number {
    const from = this.at;
    if (from + length > this.#bytes.length) throw this.damaged('is truncated');
    this.at += length;
    return from;
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
