import { type Pickled, Tuple } from '../../checkpoint/torch/pickle.ts';

export const broken = (what: string): Error => new Error(`the written PyTorch archive is broken: ${what}`);

interface Tables {
  readonly operators: readonly Pickled[];
  readonly constants: readonly Pickled[];
  readonly types: readonly Pickled[];
  readonly slots: number;
}

/** How an instruction (x, n) changes the height of the stack, and which table it points into. */
interface Effect {
  takes(x: number, n: number, tables: Tables): number;
  gives(x: number, n: number): number;
  table?: (tables: Tables) => number;
}

const none = () => 0;
const one = () => 1;

const effects: Record<string, Effect> = {
  LOAD: { takes: none, gives: one },
  MOVE: { takes: none, gives: one },
  DROPR: { takes: none, gives: none },
  STORE: { takes: one, gives: none },
  STOREN: { takes: (_, n) => n, gives: none },
  LOADC: { takes: none, gives: one, table: ({ constants }) => constants.length },
  GET_ATTR: { takes: one, gives: one, table: ({ slots }) => slots },
  LIST_CONSTRUCT: { takes: (_, n) => n, gives: one, table: ({ types }) => types.length },
  LIST_UNPACK: { takes: one, gives: (x) => x },
  TUPLE_CONSTRUCT: { takes: (x) => x, gives: one },
  OP: {
    takes: (x, _, { operators }) => Number(items(operators[x])[2]),
    gives: one,
    table: ({ operators }) => operators.length,
  },
  RET: { takes: one, gives: none },
};

const registers: Record<string, (x: number, n: number) => number[]> = {
  STOREN: (x, n) => Array.from({ length: n }, (_, i) => x + i),
  STORE: (x) => [x],
  LOAD: (x) => [x],
  MOVE: (x) => [x],
  DROPR: (x) => [x],
};

const items = (value: Pickled | undefined): readonly Pickled[] => {
  if (!(value instanceof Tuple)) throw broken('bytecode.pkl has something other than a tuple');
  return value.items;
};

/**
 * Follows the instructions of a bytecode pickle: tables are indexed inside their length, registers are
 * inside the count that is set aside and written before they are read, the stack holds what is taken.
 * @param slots attributes that the module has
 */
export function checkBytecode(pickle: Pickled, slots: number): void {
  const [, ...methods] = items(pickle);
  if (methods.length === 0) throw broken('bytecode.pkl has no method');
  for (const method of methods) {
    const rows = new Map(items(items(method)[1]).map((row) => [items(row)[0], items(row)[1]]));
    const table = (name: string) => items(rows.get(name));
    const tables = {
      operators: table('operators'),
      constants: table('constants'),
      types: table('types'),
      slots,
    };
    run(table('instructions'), tables, Number(rows.get('register_size')));
  }
}

function run(instructions: readonly Pickled[], tables: Tables, registerCount: number): void {
  const written = new Set<number>();
  let height = inputsOf(instructions[0]);
  for (const [at, instruction] of instructions.entries()) {
    const [name, x, n] = items(instruction) as [string, number, number];
    const where = `instruction ${at} (${name} ${x} ${n})`;
    const effect = effects[name];
    if (!effect) throw broken(`${where} is none of the interpreter's`);
    if (effect.table && !(x >= 0 && x < effect.table(tables)))
      throw broken(`${where} points beyond its table`);
    for (const register of registers[name]?.(x, n) ?? []) {
      if (!(register >= 1 && register <= registerCount)) {
        throw broken(`${where} uses a register other than 1 to ${registerCount}`);
      }
      if (name.startsWith('STORE')) written.add(register);
      else if (!written.has(register)) throw broken(`${where} reads a register that holds nothing`);
      if (name === 'MOVE' || name === 'DROPR') written.delete(register);
    }
    height -= effect.takes(x, n, tables);
    if (!(height >= 0)) throw broken(`${where} takes more than the stack holds`);
    height += effect.gives(x, n);
    if (name === 'RET') {
      if (height !== 0 || at !== instructions.length - 1) throw broken(`${where} leaves something behind`);
      return;
    }
  }
  throw broken('the method does not return');
}

/** The arguments that lie on the stack when a method begins, which its first instruction stores. */
function inputsOf(first: Pickled | undefined): number {
  const [name, , count] = items(first);
  if (name !== 'STOREN') throw broken('the method does not store its arguments');
  return Number(count);
}
