import { inferNode } from './infer.ts';
import { Tensor } from './tensor.ts';
import type { AttributeInput, Graph, Node, NodeInit, Value } from './types.ts';

export type Operand = Value | Tensor | undefined;

/**
 * Writes nodes into a graph the way one writes maths: each call adds an op, infers its dtypes and shapes,
 * and returns its value.
 * Small tensors given as operands become constants, equal ones only once.
 */
export class Builder {
  readonly graph: Graph;
  /** Nodes are inserted before this one; undefined: at the end. */
  before: Node | undefined;
  readonly #shared = new Map<string, Value>();
  #scope = '';

  constructor(graph: Graph, before?: Node) {
    this.graph = graph;
    this.before = before;
  }

  /** Runs `body` with `name` put before the names of what it adds: `blocks.0` and then `attn` give `blocks.0.attn`. */
  scope<T>(name: string, body: () => T): T {
    const outer = this.#scope;
    this.#scope = outer ? `${outer}.${name}` : name;
    try {
      return body();
    } finally {
      this.#scope = outer;
    }
  }

  /** The name in the present scope. */
  scoped(name: string): string {
    return this.#scope ? `${this.#scope}.${name}` : name;
  }

  /** Adds an op with one output. A tensor operand becomes a constant. */
  op(
    op: string,
    operands: readonly Operand[],
    attributes?: Record<string, AttributeInput>,
    name?: string,
  ): Value {
    return this.node(op, operands, attributes, 1, name).output(0);
  }

  /** Adds an op with `outputs` outputs. `op` is a standard name or `domain.Name`. */
  node(
    op: string,
    operands: readonly Operand[],
    attributes?: Record<string, AttributeInput>,
    outputs: number | readonly string[] = 1,
    name?: string,
  ): Node {
    const dot = op.lastIndexOf('.');
    const init: NodeInit = {
      opType: op.slice(dot + 1),
      domain: dot < 0 ? '' : op.slice(0, dot),
      inputs: operands.map((operand) => (operand instanceof Tensor ? this.constant(operand) : operand)),
      outputs: typeof outputs === 'number' ? this.#outputNames(op.slice(dot + 1), outputs, name) : outputs,
    };
    if (attributes) init.attributes = attributes;
    if (this.before) init.before = this.before;
    const node = this.graph.addNode(init);
    inferNode(node);
    return node;
  }

  /** A constant for a tensor; small ones with equal content share one. */
  constant(tensor: Tensor, hint = 'const'): Value {
    if (tensor.size > 64 || tensor.dtype === 'string') {
      return this.graph.addConstant(this.graph.uniqueName(this.scoped(hint)), tensor);
    }
    const key = `${tensor.dtype}[${tensor.shape}](${tensor.data})`;
    let value = this.#shared.get(key);
    if (!value || this.graph.constants.get(value.name) !== value) {
      value = this.graph.addConstant(this.graph.uniqueName(hint), tensor);
      this.#shared.set(key, value);
    }
    return value;
  }

  /** A one-dimensional int64 constant: a shape, axes. */
  ints(values: readonly number[]): Value {
    return this.constant(Tensor.int64(values), 'ints');
  }

  /** A float32 scalar constant. */
  scalar(value: number): Value {
    return this.constant(Tensor.scalar(value), 'scalar');
  }

  #outputNames(opType: string, count: number, name: string | undefined): string[] {
    const hint = this.scoped(name ?? opType);
    const names: string[] = [];
    for (let i = 0; i < count; i++) {
      const wanted = count === 1 ? hint : `${hint}.${i}`;
      names.push(this.graph.uniqueName(wanted));
    }
    return names;
  }
}
