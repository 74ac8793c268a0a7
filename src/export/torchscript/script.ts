import { type Pickled, Tuple } from '../../checkpoint/torch/pickle.ts';
import type { Graph } from '../../graph/graph.ts';
import { archive, className, file, TensorStore } from './archive.ts';
import { type LoweringOptions, lowerGraph } from './lower-graph.ts';
import { attributePath, ModuleTree, pythonKeywords } from './module-tree.ts';
import { type Call, type Operand, type Stored, usedWeights, type Variable, type Weight } from './program.ts';

/**
 * A TorchScript archive (`.pt`) of the graph: what `torch.jit.load` reads. The module has the graph's
 * parameters under their own names, requiring gradients, so that it can be trained on; other constants
 * are not part of its state.
 * @throws UserError naming the node when an op has no TorchScript lowering
 */
export const exportTorchScript = (graph: Graph): Iterable<Uint8Array> => torchScriptModule(graph).archive;

/** The archive, and what its constants are called in the module's `state_dict()`, by their names in the graph. */
export interface TorchScriptModule {
  readonly archive: Iterable<Uint8Array>;
  readonly names: ReadonlyMap<string, string>;
}

/** `exportTorchScript` and the names of the state. @throws UserError as that */
export function torchScriptModule(graph: Graph, options?: LoweringOptions): TorchScriptModule {
  const names = new Map<string, string>();
  const program = lowerGraph(graph, options);
  const used = usedWeights(program);
  const tree = new ModuleTree(className(graph));
  const paths = new Map<Operand, string>();
  const state = new Set<Stored>([...program.state, ...used.filter((w) => !isConstant(w))]);
  for (const weight of state) {
    const path = tree.add(weight);
    names.set(weight.name, path.join('.'));
    paths.set(weight, attributePath('self', path));
  }
  const constants = used.filter(isConstant);
  constants.forEach((constant, i) => {
    paths.set(constant, `CONSTANTS.c${i}`);
  });

  const printer = new Printer(paths);
  const inputs = program.inputs.map((input, i) => printer.declare(input, i));
  const body = [
    ...program.calls.map((call) => printer.statement(call)),
    `return ${program.outputs.map((output) => printer.operand(output)).join(', ')}`,
  ];
  const type =
    program.outputs.length === 1 ? 'Tensor' : `Tuple[${program.outputs.map(() => 'Tensor').join(', ')}]`;
  const signature = [`self: ${tree.root.type}`, ...inputs.map((name) => `${name}: Tensor`)].join(',\n      ');
  const forward = [`  def forward(${signature}) -> ${type}:`, ...body.map((line) => `    ${line}`), ''];
  const code = tree.source(forward.join('\n'));

  const data = new TensorStore('data');
  const constantData = new TensorStore('constants');
  const constantTuple: Pickled = new Tuple(constants.map((weight) => constantData.tensor(weight.tensor)));
  const entries = [
    file('data.pkl', tree.pickle(data)),
    file(`code/${tree.file}`, code),
    file('constants.pkl', constantTuple),
    ...constantData.entries,
    ...data.entries,
  ];
  return { archive: archive(graph, entries), names };
}

const isConstant = (weight: Stored): weight is Weight =>
  weight.kind === 'weight' && weight.role === 'constant';

/** Prints operands and calls as TorchScript source. */
class Printer {
  readonly #names: Map<Operand, string>;
  #count = 0;

  constructor(paths: ReadonlyMap<Operand, string>) {
    this.#names = new Map(paths);
  }

  /** Names an argument of `forward`. */
  declare(input: Variable, index: number): string {
    const name = input.name ?? '';
    const taken = [...this.#names.values()].includes(name);
    const usable = /^[A-Za-z_]\w*$/.test(name) && !/^(v\d+|self|torch|ops|CONSTANTS)$/.test(name) && !taken;
    const chosen = usable && !pythonKeywords.has(name) ? name : `input_${index}`;
    this.#names.set(input, chosen);
    return chosen;
  }

  statement({ operator, args, keywords, outputs, unpack }: Call): string {
    const [domain, name] = operator.split('.')[0]!.split('::') as [string, string];
    const target = outputs.map((output) => {
      const given = `v${++this.#count}`;
      this.#names.set(output, given);
      return given;
    });
    const printed = args.map((arg, i) => {
      const keyword = keywords[i - (args.length - keywords.length)];
      return keyword ? `${keyword}=${this.operand(arg)}` : this.operand(arg);
    });
    const callee = domain === 'aten' ? `torch.${name}` : `ops.${domain}.${name}`;
    return `${target.join(', ')}${unpack ? ', ' : ''} = ${callee}(${printed.join(', ')})`;
  }

  operand(operand: Operand): string {
    switch (operand.kind) {
      case 'none':
        return 'None';
      case 'training':
        return 'self.training';
      case 'bool':
        return operand.value ? 'True' : 'False';
      case 'int':
        return String(operand.value);
      case 'float':
        return floatLiteral(operand.value);
      case 'string':
        return JSON.stringify(operand.value);
      case 'list':
        return `[${operand.items.map((item) => this.operand(item)).join(', ')}]`;
      default:
        return this.#names.get(operand)!;
    }
  }
}

/** A float that can't be taken for an int. */
const floatLiteral = (value: number): string => {
  if (Number.isNaN(value)) return 'float("nan")';
  if (!Number.isFinite(value)) return value > 0 ? 'float("inf")' : 'float("-inf")';
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
};
