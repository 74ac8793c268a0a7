import { UserError } from '../common/errors.ts';
import { type Attribute, type AttributeInput, type AttributeValue, toAttribute } from './attribute.ts';
import { inferNode } from './infer.ts';
import type { DataType, Tensor } from './tensor.ts';

/** An axis length: a number, or the name of a symbolic one (the batch, `N`). */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** One place where a value is read: input `index` of `node`. */
export interface Use {
  readonly node: Node;
  readonly index: number;
}

/**
 * An edge of the graph: a graph input, a constant (it has a `tensor`), or the output of a node. It
 * knows who makes it and who reads it; only `Node` and `Graph` keep those links.
 */
export class Value {
  name: string;
  dtype: DataType | undefined;
  shape: Shape | undefined;
  /** Set for constants (ONNX initializers): parameters and folded numbers. */
  tensor: Tensor | undefined;
  /** What a file said about this value that the graph does not model; written back as it came. */
  carried: unknown;
  /** @internal */ _producer: Node | undefined;
  /** @internal */ readonly _uses: Use[] = [];

  constructor(name: string, dtype?: DataType, shape?: Shape, tensor?: Tensor) {
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.tensor = tensor;
  }

  /** The node this is an output of; undefined for inputs and constants. */
  get producer(): Node | undefined {
    return this._producer;
  }

  /** Every place that reads this value, nodes of subgraphs included. Graph outputs are not uses. */
  get uses(): readonly Use[] {
    return this._uses;
  }

  get isConstant(): boolean {
    return this.tensor !== undefined;
  }

  /** The shape when every axis is a number. @throws UserError when one is symbolic or unknown */
  get staticShape(): readonly number[] {
    if (!this.shape?.every((dim) => typeof dim === 'number')) {
      throw new UserError(`value ${this.name} has no static shape: [${this.shape ?? 'unknown'}]`);
    }
    return this.shape as readonly number[];
  }
}

/** One operation. `domain` is '' for standard ONNX operators. An absent optional input is undefined. */
export class Node {
  name: string;
  readonly opType: string;
  readonly domain: string;
  readonly attributes: Map<string, Attribute>;
  carried: unknown;
  /** @internal */ readonly _inputs: (Value | undefined)[] = [];
  /** @internal */ readonly _outputs: (Value | undefined)[];

  /** @internal Make nodes with `Graph.addNode`. */
  constructor(
    name: string,
    opType: string,
    domain: string,
    attributes: Map<string, Attribute>,
    inputs: readonly (Value | undefined)[],
    outputs: readonly (Value | undefined)[],
  ) {
    this.name = name;
    this.opType = opType;
    this.domain = domain;
    this.attributes = attributes;
    this._outputs = [...outputs];
    for (const output of outputs) if (output) output._producer = this;
    inputs.forEach((input, index) => {
      this.setInput(index, input);
    });
  }

  get inputs(): readonly (Value | undefined)[] {
    return this._inputs;
  }

  get outputs(): readonly (Value | undefined)[] {
    return this._outputs;
  }

  /** Input `index`, which must be present. */
  input(index: number): Value {
    const value = this._inputs[index];
    if (!value) throw new UserError(`node ${this.label} has no input ${index}`);
    return value;
  }

  /** Output `index`, which must be present. */
  output(index = 0): Value {
    const value = this._outputs[index];
    if (!value) throw new UserError(`node ${this.label} has no output ${index}`);
    return value;
  }

  /** Op and name, for messages. */
  get label(): string {
    return `${this.domain ? `${this.domain}.` : ''}${this.opType} "${this.name}"`;
  }

  /** The op's key in rule tables: `Add`, or `com.microsoft.FusedMatMul`. */
  get op(): string {
    return this.domain ? `${this.domain}.${this.opType}` : this.opType;
  }

  setInput(index: number, value: Value | undefined): void {
    const old = this._inputs[index];
    if (old) {
      const at = old._uses.findIndex((use) => use.node === this && use.index === index);
      old._uses.splice(at, 1);
    }
    while (this._inputs.length < index) this._inputs.push(undefined);
    this._inputs[index] = value;
    if (value) value._uses.push({ node: this, index });
  }

  setAttribute(name: string, value: AttributeInput): void {
    this.attributes.set(name, toAttribute(value));
  }

  int(name: string, fallback?: number): number {
    return Number(this.#attribute(name, 'int', fallback));
  }

  ints(name: string, fallback?: readonly number[]): number[] {
    return this.#attribute(name, 'ints', fallback).map(Number);
  }

  float(name: string, fallback?: number): number {
    return this.#attribute(name, 'float', fallback);
  }

  string(name: string, fallback?: string): string {
    const value = this.#attribute(name, 'string', fallback);
    return typeof value === 'string' ? value : new TextDecoder().decode(value);
  }

  has(name: string): boolean {
    return this.attributes.has(name);
  }

  #attribute<K extends keyof AttributeValue>(
    name: string,
    kind: K,
    fallback: AttributeValue[K] | undefined,
  ): AttributeValue[K] {
    const attribute = this.attributes.get(name);
    if (attribute === undefined) {
      if (fallback !== undefined) return fallback;
      throw new UserError(`node ${this.label} lacks attribute ${name}`);
    }
    if (attribute.kind !== kind) {
      throw new UserError(`node ${this.label}: attribute ${name} is ${attribute.kind}, expected ${kind}`);
    }
    return attribute.value as AttributeValue[K];
  }
}

export interface NodeInit {
  opType: string;
  domain?: string;
  inputs: readonly (Value | undefined)[];
  /** Names of the outputs (empty string: absent), or how many; default one. */
  outputs?: readonly string[] | number;
  attributes?: Record<string, AttributeInput>;
  /** Default: made from the op. */
  name?: string;
  /** Insert before this node instead of at the end. */
  before?: Node;
}

/**
 * A model, or any computation, in ONNX semantics: nodes in topological order over values. Edits go
 * through methods so that producers and uses are always right; `checkGraph` says whether they are.
 */
export class Graph {
  name: string;
  readonly inputs: Value[] = [];
  /** Values in order; the same value may be an output twice. Replace entries freely. */
  readonly outputs: Value[] = [];
  /** Model-level notes: architecture, preprocessing, classes, what was done to it. */
  readonly metadata = new Map<string, string>();
  /** Operator set versions by domain ('' is standard ONNX). */
  readonly opsets = new Map<string, number>([['', 20]]);
  /** The graph whose values this subgraph may read. */
  readonly parent: Graph | undefined;
  carried: unknown;
  #nodes: Node[] = [];
  readonly #constants = new Map<string, Value>();
  readonly #names = new Set<string>();
  #counter = 0;

  constructor(name = 'graph', parent?: Graph) {
    this.name = name;
    this.parent = parent;
  }

  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  /** Named constants in insertion order: parameters, scales, axes. */
  get constants(): ReadonlyMap<string, Value> {
    return this.#constants;
  }

  addInput(name: string, dtype: DataType, shape?: Shape): Value {
    const value = new Value(this.#claim(name), dtype, shape);
    this.inputs.push(value);
    return value;
  }

  addConstant(name: string, tensor: Tensor): Value {
    const value = new Value(this.#claim(name), tensor.dtype, tensor.shape, tensor);
    this.#constants.set(value.name, value);
    return value;
  }

  /** Gives a constant another tensor; its dtype and shape follow. */
  setConstant(value: Value, tensor: Tensor): void {
    value.tensor = tensor;
    value.dtype = tensor.dtype;
    value.shape = tensor.shape;
  }

  /** Makes a constant a graph input in place (a parameter that is to be fed), all uses kept. */
  constantToInput(value: Value): void {
    this.#constants.delete(value.name);
    value.tensor = undefined;
    this.inputs.push(value);
  }

  /** Gives an input a default: it is then a constant too, as initializers were before ONNX IR 4. */
  defaultInput(input: Value, tensor: Tensor): void {
    this.setConstant(input, tensor);
    this.#constants.set(input.name, input);
  }

  /**
   * Removes a constant; an input it is the default of goes with it.
   * @throws UserError when it is still read
   */
  removeConstant(value: Value): void {
    this.#assertUnused(value);
    this.#constants.delete(value.name);
    const input = this.inputs.indexOf(value);
    if (input >= 0) this.inputs.splice(input, 1);
    this.#names.delete(value.name);
  }

  /**
   * Adds a node and infers its outputs' dtypes and shapes.
   * @throws UserError when the op has a shape rule and the inputs don't fit it
   */
  addNode(init: NodeInit): Node {
    const names =
      typeof init.outputs === 'object'
        ? init.outputs
        : Array.from({ length: init.outputs ?? 1 }, () => this.uniqueName(init.name ?? init.opType));
    const outputs = names.map((name) => (name === '' ? undefined : new Value(this.#claim(name))));
    const attributes = new Map(
      Object.entries(init.attributes ?? {}).map(([key, value]) => [key, toAttribute(value)]),
    );
    const name = init.name ?? names.find((n) => n !== '') ?? init.opType;
    const node = new Node(name, init.opType, init.domain ?? '', attributes, init.inputs, outputs);
    if (init.domain && !this.root.opsets.has(init.domain)) this.root.opsets.set(init.domain, 1);
    if (init.before) this.#nodes.splice(this.#nodes.indexOf(init.before), 0, node);
    else this.#nodes.push(node);
    inferNode(node, this.root.opsets);
    return node;
  }

  /**
   * Gives a node further outputs, up to `count`, that its op can compute but nobody asked for so far
   * (the statistics of a normalization). Those it has stay. Returns all.
   */
  extendOutputs(node: Node, count: number): readonly (Value | undefined)[] {
    for (let i = 0; i < count; i++) {
      if (node._outputs[i]) continue;
      const output = new Value(this.#claim(this.uniqueName(`${node.name}.${i}`)));
      output._producer = node;
      node._outputs[i] = output;
    }
    inferNode(node, this.root.opsets);
    return node._outputs;
  }

  get root(): Graph {
    return this.parent?.root ?? this;
  }

  /** Makes every use of `from`, graph outputs included, a use of `to`. */
  replaceUses(from: Value, to: Value): void {
    for (const { node, index } of [...from._uses]) node.setInput(index, to);
    this.outputs.forEach((output, i) => {
      if (output === from) this.outputs[i] = to;
    });
  }

  /** @throws UserError when an output of one of them is read by a node that stays, or is a graph output */
  removeNodes(nodes: Iterable<Node>): void {
    const gone = new Set(nodes);
    for (const node of gone) {
      node._inputs.forEach((_, i) => {
        node.setInput(i, undefined);
      });
    }
    for (const node of gone) {
      for (const output of node._outputs) {
        if (!output) continue;
        this.#assertUnused(output);
        this.#names.delete(output.name);
      }
    }
    this.#nodes = this.#nodes.filter((node) => !gone.has(node));
  }

  /** Removes nodes whose results nobody reads and constants nobody reads; returns how many nodes went. */
  removeDead(): number {
    const live = new Set<Node>();
    const visit = [...this.outputs.map((v) => v._producer)];
    for (const node of this.#nodes) {
      if (node._outputs.some((o) => o?._uses.some((use) => !this.#owns(use.node)))) visit.push(node);
    }
    while (visit.length) {
      const node = visit.pop();
      if (!node || live.has(node)) continue;
      live.add(node);
      for (const input of [...node._inputs, ...capturedValues(node)]) visit.push(input?._producer);
    }
    const dead = this.#nodes.filter((node) => !live.has(node));
    this.removeNodes(dead);
    for (const value of [...this.#constants.values()]) {
      if (value._uses.length === 0 && !this.outputs.includes(value)) this.removeConstant(value);
    }
    return dead.length;
  }

  /** Puts the nodes in topological order, keeping the present order where it is free. @throws UserError on a cycle */
  sort(): void {
    const order: Node[] = [];
    const state = new Map<Node, 'open' | 'done'>();
    for (const start of this.#nodes) {
      const stack: { node: Node; next: number; reads: (Value | undefined)[] }[] = [];
      const enter = (node: Node) => {
        if (state.get(node) === 'done' || !this.#owns(node)) return;
        if (state.get(node) === 'open') throw new UserError(`the graph has a cycle through ${node.label}`);
        state.set(node, 'open');
        stack.push({ node, next: 0, reads: [...node._inputs, ...capturedValues(node)] });
      };
      enter(start);
      while (stack.length) {
        const top = stack[stack.length - 1]!;
        if (top.next < top.reads.length) {
          const producer = top.reads[top.next++]?._producer;
          if (producer) enter(producer);
        } else {
          state.set(top.node, 'done');
          order.push(top.node);
          stack.pop();
        }
      }
    }
    this.#nodes = order;
    this.#ownedCache = undefined;
  }

  /** A value by name, parents included. */
  find(name: string): Value | undefined {
    const constant = this.#constants.get(name);
    if (constant) return constant;
    const input = this.inputs.find((value) => value.name === name);
    if (input) return input;
    for (const node of this.#nodes) {
      for (const output of node._outputs) if (output?.name === name) return output;
    }
    return this.parent?.find(name);
  }

  /** A name no value of this graph bears: the hint itself, or the hint and a number. */
  uniqueName(hint: string): string {
    if (!this.#names.has(hint)) return hint;
    for (;;) {
      const name = `${hint}_${++this.#counter}`;
      if (!this.#names.has(name)) return name;
    }
  }

  /** A node that was named after the value follows it. */
  rename(value: Value, name: string): void {
    if (value.name === name) return;
    const constant = this.#constants.delete(value.name);
    this.#names.delete(value.name);
    if (value.producer?.name === value.name) value.producer.name = name;
    value.name = this.#claim(name);
    if (constant) this.#constants.set(name, value);
  }

  /** A deep copy of structure; tensors, being immutable, are shared. */
  clone(parent: Graph | undefined = this.parent, outer: ReadonlyMap<Value, Value> = new Map()): Graph {
    const copy = new Graph(this.name, parent);
    const map = new Map(outer);
    const twin = (value: Value): Value => map.get(value) ?? value;
    for (const [key, value] of this.metadata) copy.metadata.set(key, value);
    for (const [key, value] of this.opsets) copy.opsets.set(key, value);
    copy.carried = this.carried;
    copy.#names.clear();
    for (const name of this.#names) copy.#names.add(name);
    copy.#counter = this.#counter;
    const copyValue = (value: Value): Value => {
      const made = new Value(value.name, value.dtype, value.shape, value.tensor);
      made.carried = value.carried;
      map.set(value, made);
      return made;
    };
    for (const value of this.inputs) copy.inputs.push(copyValue(value));
    for (const value of this.#constants.values())
      copy.#constants.set(value.name, map.get(value) ?? copyValue(value));
    for (const node of this.#nodes) {
      const outputs = node._outputs.map((value) => value && copyValue(value));
      const attributes = new Map(
        [...node.attributes].map(([key, attribute]): [string, Attribute] => [
          key,
          attribute.kind === 'graph' ? { kind: 'graph', value: attribute.value.clone(copy, map) } : attribute,
        ]),
      );
      const inputs = node._inputs.map((value) => value && twin(value));
      const made = new Node(node.name, node.opType, node.domain, attributes, inputs, outputs);
      made.carried = node.carried;
      copy.#nodes.push(made);
    }
    copy.outputs.push(...this.outputs.map(twin));
    return copy;
  }

  #claim(name: string): string {
    if (this.#names.has(name)) throw new UserError(`the graph already has a value named "${name}"`);
    this.#names.add(name);
    return name;
  }

  #assertUnused(value: Value): void {
    const reader = value._uses[0]?.node;
    if (reader) throw new UserError(`${value.name} can't be removed: ${reader.label} reads it`);
    if (this.outputs.includes(value))
      throw new UserError(`${value.name} can't be removed: it is a graph output`);
  }

  #ownedCache: { nodes: readonly Node[]; size: number; set: Set<Node> } | undefined;

  #owns(node: Node): boolean {
    if (this.#ownedCache?.nodes !== this.#nodes || this.#ownedCache.size !== this.#nodes.length) {
      this.#ownedCache = { nodes: this.#nodes, size: this.#nodes.length, set: new Set(this.#nodes) };
    }
    return this.#ownedCache.set.has(node);
  }
}

/** The subgraphs of a node (the branches of If, the body of Loop and Scan). */
export function subgraphs(node: Node): Graph[] {
  const found: Graph[] = [];
  for (const attribute of node.attributes.values())
    if (attribute.kind === 'graph') found.push(attribute.value);
  return found;
}

/** Values of enclosing graphs that the node's subgraphs read. */
export function capturedValues(node: Node): Value[] {
  const captured: Value[] = [];
  const walk = (graph: Graph, defined: ReadonlySet<Value>) => {
    const own = new Set<Value>([...defined, ...graph.inputs, ...graph.constants.values()]);
    for (const inner of graph.nodes) for (const output of inner.outputs) if (output) own.add(output);
    for (const inner of graph.nodes) {
      for (const input of inner.inputs) if (input && !own.has(input)) captured.push(input);
      for (const nested of subgraphs(inner)) walk(nested, own);
    }
    for (const output of graph.outputs) if (!own.has(output)) captured.push(output);
  };
  for (const graph of subgraphs(node)) walk(graph, new Set());
  return captured;
}
