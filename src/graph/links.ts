import { UserError } from '../common/errors.ts';
import { toAttribute } from './attribute.ts';
import type { DataType, Tensor } from './tensor.ts';
import type { Attribute, AttributeInput, Graph, Node, Shape, Use, Value } from './types.ts';

/** A value with the links that only its graph and its nodes may change. */
export class LinkedValue implements Value {
  name: string;
  dtype: DataType | undefined;
  shape: Shape | undefined;
  tensor: Tensor | undefined;
  carried: unknown;
  producer: LinkedNode | undefined;
  readonly uses: Use[] = [];

  constructor(name: string, dtype?: DataType, shape?: Shape, tensor?: Tensor) {
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.tensor = tensor;
  }

  get isConstant(): boolean {
    return this.tensor !== undefined;
  }

  get staticShape(): readonly number[] {
    if (!this.shape?.every((dim) => typeof dim === 'number')) {
      throw new UserError(`value ${this.name} has no static shape: [${this.shape ?? 'unknown'}]`);
    }
    return this.shape as readonly number[];
  }
}

/** A node with its links. */
export class LinkedNode implements Node {
  name: string;
  readonly opType: string;
  readonly domain: string;
  readonly attributes: Map<string, Attribute>;
  carried: unknown;
  readonly inputs: (LinkedValue | undefined)[] = [];
  readonly outputs: (LinkedValue | undefined)[];
  /** The graph it is in; undefined once it was removed. */
  graph: Graph | undefined;

  constructor(
    graph: Graph,
    name: string,
    opType: string,
    domain: string,
    attributes: Map<string, Attribute>,
    inputs: readonly (Value | undefined)[],
    outputs: readonly (LinkedValue | undefined)[],
  ) {
    this.graph = graph;
    this.name = name;
    this.opType = opType;
    this.domain = domain;
    this.attributes = attributes;
    this.outputs = [...outputs];
    for (const output of outputs) if (output) output.producer = this;
    inputs.forEach((input, index) => {
      this.setInput(index, input);
    });
  }

  input(index: number): Value {
    const value = this.inputs[index];
    if (!value) throw new UserError(`node ${this.label} has no input ${index}`);
    return value;
  }

  output(index = 0): Value {
    const value = this.outputs[index];
    if (!value) throw new UserError(`node ${this.label} has no output ${index}`);
    return value;
  }

  get label(): string {
    return `${this.op} "${this.name}"`;
  }

  get op(): string {
    return this.domain ? `${this.domain}.${this.opType}` : this.opType;
  }

  get opset(): number {
    if (!this.graph) throw new Error(`${this.label} was removed from its graph`);
    return this.graph.root.opsets.get(this.domain) ?? 1;
  }

  setInput(index: number, value: Value | undefined): void {
    const old = this.inputs[index];
    if (old) {
      const at = old.uses.findIndex((use) => use.node === this && use.index === index);
      old.uses.splice(at, 1);
    }
    while (this.inputs.length < index) this.inputs.push(undefined);
    const linked = value as LinkedValue | undefined;
    this.inputs[index] = linked;
    linked?.uses.push({ node: this, index });
  }

  setAttribute(name: string, value: AttributeInput): void {
    this.attributes.set(name, toAttribute(value));
  }

  removeAttribute(name: string): void {
    this.attributes.delete(name);
  }
}
