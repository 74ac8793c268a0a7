import * as z from 'zod';
import { Float, Global, instance, type Pickled, Tuple, tuple } from '../../checkpoint/torch/pickle.ts';
import type { Graph } from '../../graph/graph.ts';
import { archive, className, file, intListPickle, TensorStore } from './archive.ts';
import { lowerGraph } from './lower-graph.ts';
import { type Call, type Operand, operands, type Program, usedWeights, type Variable } from './program.ts';
import { prepackForXnnpack } from './xnnpack.ts';

export const liteOptions = z.strictObject({
  xnnpack: z.boolean().default(false).meta({
    description: 'PyTorch Lite with prepacked layers, for builds with XNNPACK (Android)',
  }),
});

export type LiteOptions = z.input<typeof liteOptions>;

/** Bytecode version of zip archives. */
const bytecodeVersion = 8;

/**
 * A PyTorch Lite archive (`.ptl`) of the graph: what the Lite Interpreter of phones and
 * `_load_for_lite_interpreter` read. Weights take no gradients; an activation is freed when it is read
 * for the last time. With `xnnpack`, Linears and convolutions are as XNNPACK keeps them: only PyTorch built
 * with XNNPACK, as for Android, loads such a file.
 * @throws UserError naming the node when an op has no TorchScript lowering
 */
export function exportLite(graph: Graph, { xnnpack = false }: LiteOptions = {}): Iterable<Uint8Array> {
  const program = lowerGraph(graph);
  if (xnnpack) prepackForXnnpack(program);
  const type = `__torch__.pqv.${className(graph)}`;
  const data = new TensorStore('data');
  const state = new Map<Pickled, Pickled>();
  const slots = new Map<Operand, number>();
  for (const weight of usedWeights(program)) {
    slots.set(weight, slots.size);
    state.set(weight.name, data.stored(weight));
  }
  const assembler = new Assembler(program, slots);
  const tensorType = (count: number) =>
    count === 1 ? 'Tensor' : `Tuple[${Array(count).fill('Tensor').join(', ')}]`;
  const schema = tuple(
    tuple(
      'arguments',
      tuple(
        argument('self', type),
        ...program.inputs.map((input, i) => argument(input.name ?? `x${i}`, 'Tensor')),
      ),
    ),
    tuple('returns', tuple(argument('', tensorType(program.outputs.length)))),
  );
  const method = tuple(`${type}.forward`, assembler.code(), schema);
  return archive(graph, [
    file('bytecode.pkl', tuple(bytecodeVersion, method)),
    file('data.pkl', instance(new Global('__torch__.pqv', className(graph)), state)),
    ...data.entries,
  ]);
}

const argument = (name: string, type: string): Pickled =>
  tuple(tuple('name', name), tuple('type', type), tuple('default_value', null));

/** Numbers things in order of first appearance, equal ones once. */
class Table<T> {
  readonly items: T[] = [];
  readonly #index = new Map<string, number>();

  add(key: string, item: T): number {
    let index = this.#index.get(key);
    if (index === undefined) {
      index = this.items.push(item) - 1;
      this.#index.set(key, index);
    }
    return index;
  }
}

/**
 * Turns a program into instructions of the interpreter, a stack machine with registers numbered from 1.
 * Register 1 is the module. Arguments are pushed, an operator takes them and pushes its result, which
 * goes into a register; the last read moves it out again and the register is free for another.
 */
class Assembler {
  readonly #instructions: Pickled[] = [];
  readonly #operators = new Table<Pickled>();
  readonly #constants = new Table<Pickled>();
  readonly #types = new Table<Pickled>();
  readonly #slots: ReadonlyMap<Operand, number>;
  readonly #registers = new Map<Operand, number>();
  readonly #readsLeft = new Map<Operand, number>();
  readonly #free: number[] = [];
  #registerCount = 1;

  constructor(program: Program, slots: ReadonlyMap<Operand, number>) {
    this.#slots = slots;
    for (const args of [...program.calls.map((call) => call.args), program.outputs]) {
      for (const operand of operands(args)) {
        this.#readsLeft.set(operand, (this.#readsLeft.get(operand) ?? 0) + 1);
      }
    }
    this.#emit('STOREN', 1, 1 + program.inputs.length);
    for (const input of program.inputs) this.#registers.set(input, ++this.#registerCount);
    for (const input of program.inputs) this.#dropIfUnread(input);
    for (const call of program.calls) this.#call(call);
    for (const output of program.outputs) this.#push(output);
    if (program.outputs.length !== 1) this.#emit('TUPLE_CONSTRUCT', program.outputs.length, 0);
    this.#emit('RET', 0, 0);
  }

  /** The method's table of five rows, whose order is fixed. */
  code(): Pickled {
    return tuple(
      tuple('instructions', new Tuple(this.#instructions)),
      tuple('operators', new Tuple(this.#operators.items)),
      tuple('constants', new Tuple(this.#constants.items)),
      tuple('types', new Tuple(this.#types.items)),
      tuple('register_size', this.#registerCount),
    );
  }

  #emit(name: string, x: number, n: number): void {
    this.#instructions.push(tuple(name, x, n));
  }

  #call({ operator, args, outputs, unpack }: Call): void {
    for (const arg of args) this.#push(arg);
    const dot = operator.indexOf('.');
    const name = dot < 0 ? operator : operator.slice(0, dot);
    const overload = dot < 0 ? '' : operator.slice(dot + 1);
    const entry = tuple(name, overload, args.length);
    this.#emit('OP', this.#operators.add(`${operator} ${args.length}`, entry), 0);
    if (unpack) this.#emit('LIST_UNPACK', outputs.length, 0);
    for (const output of outputs.toReversed()) this.#store(output);
  }

  #store(output: Variable): void {
    const register = this.#free.pop() ?? ++this.#registerCount;
    this.#registers.set(output, register);
    this.#emit('STORE', register, 0);
    this.#dropIfUnread(output);
  }

  #dropIfUnread(variable: Variable): void {
    if (this.#readsLeft.get(variable)) return;
    const register = this.#registers.get(variable)!;
    this.#emit('DROPR', register, 0);
    this.#free.push(register);
  }

  #push(operand: Operand): void {
    switch (operand.kind) {
      case 'variable': {
        const left = this.#readsLeft.get(operand)! - 1;
        const register = this.#registers.get(operand)!;
        this.#readsLeft.set(operand, left);
        this.#emit(left ? 'LOAD' : 'MOVE', register, 0);
        if (!left) this.#free.push(register);
        break;
      }
      case 'weight':
      case 'packed':
      case 'prepacked':
        this.#emit('LOAD', 1, 0);
        this.#emit('GET_ATTR', this.#slots.get(operand)!, 0);
        break;
      case 'list':
        this.#pushList(operand.element, operand.items);
        break;
      case 'none':
        this.#constant('none', null);
        break;
      case 'training':
        this.#constant('bool false', false);
        break;
      case 'float':
        this.#constant(
          `float ${Object.is(operand.value, -0) ? '-0' : operand.value}`,
          new Float(operand.value),
        );
        break;
      default:
        this.#constant(`${operand.kind} ${operand.value}`, operand.value);
    }
  }

  #pushList(element: string, items: readonly Operand[]): void {
    const numbers = items.flatMap((item) => (item.kind === 'int' ? [item.value] : []));
    if (element === 'int' && numbers.length === items.length) {
      this.#constant(`ints ${numbers}`, intListPickle(numbers));
      return;
    }
    for (const item of items) this.#push(item);
    const type = `List[${element}]`;
    this.#emit('LIST_CONSTRUCT', this.#types.add(type, type), items.length);
  }

  #constant(key: string, value: Pickled): void {
    this.#emit('LOADC', this.#constants.add(key, value), 0);
  }
}
