import type { DataType, Tensor } from './tensor.ts';

/** An axis length: a number, the name of a symbolic one (the batch, `N`), or `?`, of which nothing is known. */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** One place where a value is read: input `index` of `node`. */
export interface Use {
  readonly node: Node;
  readonly index: number;
}

/**
 * An edge of the graph: a graph input, a constant (it has a `tensor`), or the output of a node. It
 * knows who makes it and who reads it; only the graph's own methods change those links.
 */
export interface Value {
  readonly name: string;
  dtype: DataType | undefined;
  shape: Shape | undefined;
  /** Set for constants (ONNX initializers): parameters and folded numbers. */
  readonly tensor: Tensor | undefined;
  /** What a file said about this value that the graph does not model; written back as it came. */
  carried: unknown;
  /** The node this is an output of; undefined for inputs and constants. */
  readonly producer: Node | undefined;
  /** Every place that reads this value, nodes of subgraphs included. Graph outputs are not uses. */
  readonly uses: readonly Use[];
  readonly isConstant: boolean;
  /** The shape when every axis is a number. @throws UserError when one is symbolic or unknown */
  readonly staticShape: readonly number[];
}

/** A node's attribute, by ONNX kind. `opaque` carries kinds the graph does not interpret, unchanged. */
export type Attribute = (
  | { kind: 'float'; value: number }
  | { kind: 'int'; value: number | bigint }
  | { kind: 'string'; value: string | Uint8Array }
  | { kind: 'tensor'; value: Tensor }
  | { kind: 'graph'; value: Graph }
  | { kind: 'floats'; value: readonly number[] }
  | { kind: 'ints'; value: readonly (number | bigint)[] }
  | { kind: 'strings'; value: readonly (string | Uint8Array)[] }
  | { kind: 'opaque'; value: unknown }
) & {
  /** What a file said about this attribute that the graph does not model. */
  carried?: unknown;
};

/** Short form for writing attributes: a whole number is an int, `number[]` ints, a string a string. */
export type AttributeInput = number | string | readonly number[] | Attribute;

/** One operation. `domain` is '' for standard ONNX operators. An absent optional input is undefined. */
export interface Node {
  readonly name: string;
  readonly opType: string;
  readonly domain: string;
  /** As the file has them. What they mean, defaults included, `argumentsOf` says (schema/arguments.ts). */
  readonly attributes: ReadonlyMap<string, Attribute>;
  carried: unknown;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly (Value | undefined)[];
  /** The op's key in rule tables: `Add`, or `com.microsoft.FusedMatMul`. */
  readonly op: string;
  /** Op and name, for messages. */
  readonly label: string;
  /** The version of its domain's operator set that the node is read by. */
  readonly opset: number;
  /** Input `index`. @throws UserError when it is absent */
  input(index: number): Value;
  /** Output `index`, by default the first. @throws UserError when it is absent */
  output(index?: number): Value;
  setInput(index: number, value: Value | undefined): void;
  setAttribute(name: string, value: AttributeInput): void;
  removeAttribute(name: string): void;
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

/** A copy of a graph. */
export interface Clone {
  readonly graph: Graph;
  /** The copy's value for each value of the original (and of its subgraphs). */
  readonly values: ReadonlyMap<Value, Value>;
}

/**
 * A model, or any computation, in ONNX semantics: nodes in topological order over values. Edits go
 * through methods so that producers and uses are always right; `checkGraph` says whether they are.
 * Dtypes and shapes are not among them: who adds or changes nodes asks for them (`inferNode`).
 */
export interface Graph {
  name: string;
  readonly inputs: Value[];
  /** Values in order; the same value may be an output twice. Replace entries freely. */
  readonly outputs: Value[];
  /** Model-level notes: architecture, preprocessing, classes, what was done to it. */
  readonly metadata: Map<string, string>;
  /** Operator set versions by domain ('' is standard ONNX). */
  readonly opsets: Map<string, number>;
  /** The graph whose values this subgraph may read. */
  readonly parent: Graph | undefined;
  /** The outermost graph, which says the operator set versions. */
  readonly root: Graph;
  carried: unknown;
  readonly nodes: readonly Node[];
  /** Named constants in insertion order: parameters, scales, axes. */
  readonly constants: ReadonlyMap<string, Value>;

  addInput(name: string, dtype: DataType, shape?: Shape): Value;
  addConstant(name: string, tensor: Tensor): Value;
  /** Gives a constant another tensor; its dtype and shape follow. */
  setConstant(value: Value, tensor: Tensor): void;
  /** Makes a constant a graph input in place (a parameter that is to be fed), all uses kept. */
  constantToInput(value: Value): void;
  /** Gives an input a default: it is then a constant too, as initializers were before ONNX IR 4. */
  defaultInput(input: Value, tensor: Tensor): void;
  /**
   * Removes a constant; an input it is the default of goes with it.
   * @throws UserError when it is still read
   */
  removeConstant(value: Value): void;
  /** Adds a node. Dtypes and shapes of its outputs are unknown until they are inferred. */
  addNode(init: NodeInit): Node;
  /**
   * Gives a node further outputs, up to `count`, that its op can compute but nobody asked for so far
   * (the statistics of a normalization). Those it has stay. Returns all.
   */
  extendOutputs(node: Node, count: number): readonly (Value | undefined)[];
  /** Makes every use of `from`, graph outputs included, a use of `to`. */
  replaceUses(from: Value, to: Value): void;
  /** @throws UserError when an output of one of them is read by a node that stays, or is a graph output */
  removeNodes(nodes: Iterable<Node>): void;
  /** Removes nodes whose results nobody reads and constants nobody reads; returns how many nodes went. */
  removeDead(): number;
  /** Puts the nodes in topological order, keeping the present order where it is free. @throws UserError on a cycle */
  sort(): void;
  /** A value by name, parents included. */
  find(name: string): Value | undefined;
  /** A name no value of this graph bears: the hint itself, or the hint and a number. */
  uniqueName(hint: string): string;
  /** A node that was named after the value follows it. */
  rename(value: Value, name: string): void;
  /** A deep copy of structure; tensors, being immutable, are shared. */
  clone(): Clone;
}
