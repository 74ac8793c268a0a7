import { UserError } from '../common/errors.ts';
import { toAttribute } from './attribute.ts';
import { copyInto } from './clone.ts';
import { LinkedNode, LinkedValue } from './links.ts';
import { Names } from './names.ts';
import type { DataType, Tensor } from './tensor.ts';
import { liveNodes, topologicalOrder } from './traversal.ts';
import type * as types from './types.ts';
import type { Clone, Node, NodeInit, Shape, Value } from './types.ts';

export type { Clone, Dim, Node, NodeInit, Shape, Use, Value } from './types.ts';

/** The graph of `types.ts`, which says what each method does. */
class LinkedGraph implements types.Graph {
  name: string;
  readonly inputs: LinkedValue[] = [];
  readonly outputs: LinkedValue[] = [];
  readonly metadata = new Map<string, string>();
  readonly opsets = new Map<string, number>([['', 20]]);
  readonly parent: types.Graph | undefined;
  carried: unknown;
  #nodes: LinkedNode[] = [];
  readonly #constants = new Map<string, LinkedValue>();
  readonly #names: Names;

  constructor(name = 'graph', parent?: types.Graph, names = new Names()) {
    this.name = name;
    this.parent = parent;
    this.#names = names;
  }

  get nodes(): readonly LinkedNode[] {
    return this.#nodes;
  }

  get constants(): ReadonlyMap<string, LinkedValue> {
    return this.#constants;
  }

  get root(): types.Graph {
    return this.parent?.root ?? this;
  }

  addInput(name: string, dtype: DataType, shape?: Shape): Value {
    const value = new LinkedValue(this.#names.claim(name), dtype, shape);
    this.inputs.push(value);
    return value;
  }

  addConstant(name: string, tensor: Tensor): Value {
    const value = new LinkedValue(this.#names.claim(name), tensor.dtype, tensor.shape, tensor);
    this.#constants.set(value.name, value);
    return value;
  }

  setConstant(value: Value, tensor: Tensor): void {
    (value as LinkedValue).tensor = tensor;
    value.dtype = tensor.dtype;
    value.shape = tensor.shape;
  }

  constantToInput(value: Value): void {
    this.#constants.delete(value.name);
    (value as LinkedValue).tensor = undefined;
    this.inputs.push(value as LinkedValue);
  }

  defaultInput(input: Value, tensor: Tensor): void {
    this.setConstant(input, tensor);
    this.#constants.set(input.name, input as LinkedValue);
  }

  removeConstant(value: Value): void {
    this.#assertUnused(value);
    this.#constants.delete(value.name);
    const input = this.inputs.indexOf(value as LinkedValue);
    if (input >= 0) this.inputs.splice(input, 1);
    this.#names.release(value.name);
  }

  addNode(init: NodeInit): Node {
    const names =
      typeof init.outputs === 'object'
        ? init.outputs
        : Array.from({ length: init.outputs ?? 1 }, () => this.uniqueName(init.name ?? init.opType));
    const outputs = names.map((name) => (name === '' ? undefined : new LinkedValue(this.#names.claim(name))));
    const attributes = new Map(
      Object.entries(init.attributes ?? {}).map(([key, value]) => [key, toAttribute(value)]),
    );
    const name = init.name ?? names.find((n) => n !== '') ?? init.opType;
    const domain = init.domain ?? '';
    const node = new LinkedNode(this, name, init.opType, domain, attributes, init.inputs, outputs);
    if (domain && !this.root.opsets.has(domain)) this.root.opsets.set(domain, 1);
    if (init.before) this.#nodes.splice(this.#nodes.indexOf(init.before as LinkedNode), 0, node);
    else this.#nodes.push(node);
    return node;
  }

  extendOutputs(node: Node, count: number): readonly (Value | undefined)[] {
    const linked = node as LinkedNode;
    for (let i = 0; i < count; i++) {
      if (linked.outputs[i]) continue;
      const output = new LinkedValue(this.#names.claim(this.uniqueName(`${node.name}.${i}`)));
      output.producer = linked;
      linked.outputs[i] = output;
    }
    return linked.outputs;
  }

  replaceUses(from: Value, to: Value): void {
    for (const { node, index } of [...from.uses]) node.setInput(index, to);
    this.outputs.forEach((output, i) => {
      if (output === from) this.outputs[i] = to as LinkedValue;
    });
  }

  removeNodes(nodes: Iterable<Node>): void {
    const gone = new Set(nodes as Iterable<LinkedNode>);
    for (const node of gone) {
      node.inputs.forEach((_, i) => {
        node.setInput(i, undefined);
      });
    }
    for (const node of gone) {
      for (const output of node.outputs) {
        if (!output) continue;
        this.#assertUnused(output);
        this.#names.release(output.name);
      }
      node.graph = undefined;
    }
    this.#nodes = this.#nodes.filter((node) => !gone.has(node));
  }

  removeDead(): number {
    const live = liveNodes(this);
    const dead = this.#nodes.filter((node) => !live.has(node));
    this.removeNodes(dead);
    for (const value of [...this.#constants.values()]) {
      if (value.uses.length === 0 && !this.outputs.includes(value)) this.removeConstant(value);
    }
    return dead.length;
  }

  sort(): void {
    this.#nodes = topologicalOrder(this.#nodes) as LinkedNode[];
  }

  find(name: string): Value | undefined {
    const constant = this.#constants.get(name);
    if (constant) return constant;
    const input = this.inputs.find((value) => value.name === name);
    if (input) return input;
    for (const node of this.#nodes) {
      for (const output of node.outputs) if (output?.name === name) return output;
    }
    return this.parent?.find(name);
  }

  uniqueName(hint: string): string {
    return this.#names.unique(hint);
  }

  rename(value: Value, name: string): void {
    if (value.name === name) return;
    const linked = value as LinkedValue;
    const constant = this.#constants.delete(linked.name);
    this.#names.release(linked.name);
    if (linked.producer?.name === linked.name) linked.producer.name = name;
    linked.name = this.#names.claim(name);
    if (constant) this.#constants.set(name, linked);
  }

  clone(): Clone {
    return LinkedGraph.#copy(this, this.parent, new Map());
  }

  static #copy(
    this: void,
    source: types.Graph,
    parent: types.Graph | undefined,
    outer: ReadonlyMap<Value, Value>,
  ): Clone {
    const copy = new LinkedGraph(source.name, parent, new Names((source as LinkedGraph).#names));
    return copyInto(copy, source, outer, LinkedGraph.#copy);
  }

  #assertUnused(value: Value): void {
    const reader = value.uses[0]?.node;
    if (reader) throw new UserError(`${value.name} can't be removed: ${reader.label} reads it`);
    if (this.outputs.includes(value as LinkedValue))
      throw new UserError(`${value.name} can't be removed: it is a graph output`);
  }
}

export type Graph = types.Graph;
export const Graph: new (name?: string, parent?: Graph) => Graph = LinkedGraph;
