import { UserError } from '../../common/errors.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import { buffers, parameters } from '../../graph/parameters.ts';
import { isComputed } from '../../graph/schema/arguments.ts';
import type { OpArguments, OpName } from '../../graph/schema/signature.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { packedNodes } from './packed-nodes.ts';
import {
  type Call,
  float,
  int,
  type Operand,
  type PackedLinear,
  type Role,
  Variable,
  Weight,
} from './program.ts';

/**
 * How one op becomes ATen calls. Returns what stands for the node's output (an array: for each of its
 * outputs). Rules may look at the producers of their inputs to make a fused call; what that leaves
 * unread is dropped afterwards.
 */
export type LoweringRule<A> = (node: Node, args: A, lower: Lowering) => Lowered;

export type Lowered = Operand | readonly (Operand | undefined)[];

export type LoweringRules = { readonly [O in OpName]?: LoweringRule<OpArguments[O]> };

/** The lowering of one graph in progress: which operand stands for which value. */
export class Lowering {
  readonly graph: Graph;
  readonly inputs: Variable[];
  readonly calls: Call[] = [];
  readonly #bound = new Map<Value, Operand>();
  readonly #weights = new Map<string, Weight>();
  readonly #packed = new Map<string, PackedLinear>();
  readonly #made = new Map<Value, Operand>();
  readonly #owned: ReadonlySet<Value>;
  readonly #detached: ReadonlySet<Value>;

  constructor(graph: Graph, detached: ReadonlySet<Value> = new Set()) {
    this.graph = graph;
    this.#detached = detached;
    this.#owned = new Set(stateValues(graph));
    this.inputs = graph.inputs
      .filter((value) => !value.isConstant)
      .map((value) => {
        const variable = new Variable('Tensor', value.name);
        this.#bound.set(value, variable);
        return variable;
      });
  }

  bind(node: Node, result: Lowered): void {
    const results = 'kind' in result ? [result] : result;
    node.outputs.forEach((output, i) => {
      if (!output) return;
      const operand = results[i];
      if (operand) {
        const made = this.#detached.has(output) ? this.call('aten::detach', [operand]) : operand;
        this.#bound.set(output, made);
      } else if (output.uses.length || this.graph.outputs.includes(output)) {
        throw this.unsupported(node, `output ${i} (${output.name}) can't be computed in TorchScript`);
      }
    });
  }

  /** A node that has a rule, but not for this. */
  unsupported(node: Node, what: string): UserError {
    return new UserError(`${node.label}: ${what}; can't export this graph to TorchScript`);
  }

  /** Adds a call with one result. `operator` is `aten::name` or `aten::name.overload`. */
  call(
    operator: string,
    args: readonly Operand[],
    type: Variable['type'] = 'Tensor',
    keywords: readonly string[] = [],
  ): Variable {
    const output = new Variable(type);
    this.calls.push({ operator, args, keywords, outputs: [output], unpack: false });
    return output;
  }

  /** Adds a call that gives a list of `count` tensors. */
  callUnpacked(operator: string, args: readonly Operand[], count: number): Variable[] {
    const outputs = Array.from({ length: count }, () => new Variable());
    this.calls.push({ operator, args, keywords: [], outputs, unpack: true });
    return outputs;
  }

  /** The operand for a value that is read as a tensor. */
  tensor(value: Value): Operand {
    if (value.tensor) return this.weight(value.name, value.tensor, this.#role(value));
    const bound = this.#bound.get(value);
    if (!bound) throw new UserError(`${value.name} is read before it is made`);
    if (
      bound.kind === 'int' ||
      bound.kind === 'list' ||
      (bound.kind === 'variable' && bound.type === 'int')
    ) {
      throw new UserError(
        `${value.name} is a shape computed at run time and read as a tensor; can't export this graph to TorchScript`,
      );
    }
    return bound;
  }

  /** The operand for a value, none when it is absent. */
  optional(value: Value | undefined): Operand {
    return value ? this.tensor(value) : { kind: 'none' };
  }

  /** The one number of a constant that is no parameter, finite: what can stand in the code itself. */
  scalar(value: Value): Operand | undefined {
    const { tensor } = value;
    if (tensor?.size !== 1 || tensor.dtype === 'string' || this.#owned.has(value)) return undefined;
    if (tensor.dtype === 'float32' || tensor.dtype === 'float64') {
      const number = (tensor.data as Float32Array)[0]!;
      return Number.isFinite(number) ? float(number) : undefined;
    }
    return tensor.dtype === 'int64' || tensor.dtype === 'int32' ? int(tensor.integers[0]!) : undefined;
  }

  /** Is the value made of a tensor's axis lengths, an int or a list of ints and no tensor? */
  isShape(value: Value): boolean {
    const bound = this.#bound.get(value);
    return (
      bound?.kind === 'list' || bound?.kind === 'int' || (bound?.kind === 'variable' && bound.type === 'int')
    );
  }

  /** The ints of an argument, of a constant, or of a computed shape. */
  ints(node: Node, value: Value | readonly number[]): readonly Operand[] {
    if (!isComputed(value)) return value.map(int);
    if (value.tensor) return value.tensor.integers.map(int);
    const bound = this.#bound.get(value);
    if (bound?.kind === 'list') return bound.items;
    if (bound && this.isShape(value)) return [bound];
    throw this.unsupported(node, `${value.name} is computed at run time, where a constant is needed`);
  }

  /** The ints of an argument that must not depend on the input's shape. */
  constantInts(node: Node, value: Value | readonly number[]): number[] {
    return this.ints(node, value).map((operand) => {
      if (operand.kind !== 'int') {
        throw this.unsupported(node, `${(value as Value).name} depends on the input's shape`);
      }
      return operand.value;
    });
  }

  /** A tensor the file is to carry, one for each name. */
  weight(name: string, tensor: Tensor, role: Role = 'constant'): Weight {
    const known = this.#weights.get(name);
    if (known) return known;
    const made = new Weight(name, tensor, role);
    this.#weights.set(name, made);
    return made;
  }

  /** An int8 layer the file is to carry, one for each combination of weight, scale and bias. */
  packed(
    parts: readonly (Value | undefined)[],
    name: string,
    make: (name: string) => PackedLinear,
  ): PackedLinear {
    const key = parts.map((value) => value?.name ?? '').join('\n');
    let found = this.#packed.get(key);
    if (!found) {
      let unique = name;
      const taken = new Set([...this.#packed.values()].map((packed) => packed.name));
      for (let i = 1; taken.has(unique) || this.graph.constants.has(unique); i++) unique = `${name}_${i}`;
      found = make(unique);
      this.#packed.set(key, found);
    }
    return found;
  }

  /** What several rules make of a value, made by the first of them. */
  once(value: Value, make: () => Operand): Operand {
    let made = this.#made.get(value);
    if (!made) {
      made = make();
      this.#made.set(value, made);
    }
    return made;
  }

  /** Every parameter and buffer of the model. */
  state(): Weight[] {
    return [...this.#owned].map((value) => this.weight(value.name, value.tensor!, this.#role(value)));
  }

  /** The value's rank, which most rules need. @throws UserError when it is unknown */
  rank(node: Node, value: Value): number {
    if (!value.shape) throw this.unsupported(node, `the rank of ${value.name} is not known`);
    return value.shape.length;
  }

  #role(value: Value): Role {
    if (!this.#owned.has(value)) return 'constant';
    const statistic = /(^|\.)running_(mean|var)$/.test(value.name);
    return value.dtype?.startsWith('float') && !statistic ? 'parameter' : 'buffer';
  }
}

/**
 * The constants that make up the module's state: the recorded parameters and buffers, or for a graph that records
 * none (an imported file) its float tensors of some size. What an int8 layer packs is not among them.
 */
function stateValues(graph: Graph): Value[] {
  const recorded = [...parameters(graph), ...buffers(graph)];
  const packing = packedNodes(graph);
  const readAsFloat = (value: Value) =>
    value.uses.length === 0 || value.uses.some((use) => !packing.has(use.node));
  if (recorded.length) return recorded.filter(readAsFloat);
  return [...graph.constants.values()].filter(
    (value) => value.dtype?.startsWith('float') && value.tensor!.size > 1 && readAsFloat(value),
  );
}
