import { toAttribute } from '../attribute.ts';
import { Builder } from '../builder.ts';
import { Graph } from '../graph.ts';
import { argumentTensor } from '../schema/arguments.ts';
import { type OpArguments, type OpName, signaturesOf, versionOf } from '../schema/signature.ts';
import { dataTypes, elementCount, type NumericType, Tensor } from '../tensor.ts';
import type { AttributeInput, Dim, Node, Shape, Value } from '../types.ts';

/** A graph input: floats from an interval (not around 0, so that sums of them are numbers of some size), or zeros of another type. `N` is the batch. */
export interface CaseInput {
  readonly shape: Shape;
  readonly dtype: NumericType;
  readonly low: number;
  readonly high: number;
}

/** What a case hands to an op: an input, a constant, or nothing. */
export type Operand = CaseInput | Tensor | undefined;

type Given = number | string | readonly number[] | Tensor;

/** One way to use an op, in words that hold for each of its versions. */
export interface OpCase {
  readonly op: OpName;
  readonly operands: readonly Operand[];
  readonly args: Readonly<Record<string, Given>>;
  readonly outputs: number;
  /** It rounds so much that differences say nothing of slopes. */
  readonly rounds?: boolean;
  /** The operator sets to try it in, where that does not follow from the schema. */
  readonly opsets?: readonly number[];
}

/** A case; its arguments are those of the op's schema. */
export function opCase<O extends OpName>(
  op: O,
  operands: readonly Operand[],
  args: { readonly [N in keyof OpArguments[O]]?: Given } = {},
  outputs = 1,
): OpCase {
  return { op, operands, args: args as Record<string, Given>, outputs };
}

export const floats = (...shape: Shape): CaseInput => ({ shape, dtype: 'float32', low: -1.3, high: 1.7 });
export const positive = (...shape: Shape): CaseInput => ({ shape, dtype: 'float32', low: 0.5, high: 2 });
export const typed = (dtype: NumericType, ...shape: Shape): CaseInput => ({ shape, dtype, low: 0, high: 0 });

/** Operator sets that every op with several versions is tried in; the last is the newest that the engine has. */
const opsets = [7, 9, 11, 13, 18, 20, 25];
/** Where nothing but the newest version of an op matters. */
const usual = 20;

/** The operator sets to try a case in: those in which its op is written in different ways. */
export function opsetsOf({ op, args, opsets: given }: OpCase): readonly number[] {
  if (given) return given;
  const versions = signaturesOf(op);
  const takes = (opset: number) => {
    const version = versionOf(op, opset);
    const names = [...(version?.inputs ?? []), ...(version?.attributes ?? [])].map(({ name }) => name);
    return version !== undefined && Object.keys(args).every((name) => names.includes(name));
  };
  if (op.includes('.') || versions.length === 1) return [Math.max(usual, versions[0]!.since)];
  return opsets.filter(takes);
}

/** Every case in every operator set it is to be tried in, as rows for `it.each`. */
export const inOpsets = (cases: readonly OpCase[]): { op: OpName; opset: number; one: OpCase }[] =>
  cases.flatMap((one) => opsetsOf(one).map((opset) => ({ op: one.op, opset, one })));

/** The graph of one op, written as the operator set has it. */
export function caseGraph(one: OpCase, opset: number): { graph: Graph; builder: Builder; inputs: Value[] } {
  const graph = new Graph(one.op);
  graph.opsets.set('', opset);
  const builder = new Builder(graph);
  const inputs: Value[] = [];
  const operands = one.operands.map((operand, i) => {
    if (operand === undefined || operand instanceof Tensor) return operand;
    inputs.push(graph.addInput(`x${i}`, operand.dtype, operand.shape));
    return inputs.at(-1);
  });
  graph.outputs.push(...addCase(builder, one, operands).outputs.filter((value) => value !== undefined));
  return { graph, builder, inputs };
}

/** Adds a case's op, written as the graph's operator set has it, to operands that stand for its own. */
export function addCase(
  builder: Builder,
  one: OpCase,
  operands: readonly (Value | Tensor | undefined)[],
): Node {
  const opset = builder.graph.opsets.get('')!;
  const version = versionOf(one.op, one.op.includes('.') ? 1 : opset)!;
  const rest = [...operands];
  const inputs = version.inputs.flatMap(({ name, kind, variadic }) => {
    if (variadic) return rest.splice(0);
    const given = one.args[name];
    if (kind) return given === undefined ? [undefined] : [argumentTensor(name, kind, given as number)];
    return [rest.shift()];
  });
  while (inputs.length && inputs.at(-1) === undefined) inputs.pop();
  const attributes: Record<string, AttributeInput> = {};
  for (const { name, kind } of version.attributes) {
    const given = one.args[name];
    if (given === undefined) continue;
    if (kind === 'f') attributes[name] = { kind: 'float', value: given as number };
    else if (kind === 'F') attributes[name] = { kind: 'floats', value: given as number[] };
    else if (given instanceof Tensor) attributes[name] = { kind: 'tensor', value: given };
    else attributes[name] = toAttribute(given);
  }
  return builder.node(one.op, inputs, attributes, one.outputs);
}

/** How long an axis is when the batch is of two. */
export const batch = 2;
export const concrete = (dim: Dim): number =>
  typeof dim === 'number'
    ? dim
    : dim.split('*').reduce((p, part) => p * (part === 'N' ? batch : Number(part)), 1);

/** A fixed, irregular sequence in [0, 1). */
export function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * Numbers for a case's inputs, by name. Those of one input have 0.1 between any two (as long as there is
 * room) and lie at an offset of their own from the tenths, so that steps of finite differences cross no
 * kink: of Max, of Relu, of Clip.
 */
export function caseFeeds({ operands }: OpCase, random: () => number): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  operands.forEach((operand, i) => {
    if (operand === undefined || operand instanceof Tensor) return;
    const shape = operand.shape.map(concrete);
    if (operand.dtype !== 'float32') {
      feeds[`x${i}`] = Tensor.zeros(operand.dtype, shape);
      return;
    }
    const slots = Array.from(
      { length: Math.floor((operand.high - operand.low) * 10) },
      (_, k) => operand.low + k / 10,
    );
    const order = slots.map((slot) => ({ slot, key: random() })).sort((a, b) => a.key - b.key);
    const numbers = Float32Array.from(
      { length: elementCount(shape) },
      (_, k) => order[k % order.length]!.slot + 0.05 * (i + 1),
    );
    feeds[`x${i}`] = Tensor.float32(shape, numbers);
  });
  return feeds;
}

/** A constant of irregular numbers between the ends of what its type holds, or of an interval. */
export function irregular(
  dtype: 'float32' | 'int8' | 'bool',
  shape: readonly number[],
  seed: number,
): Tensor {
  const random = sequence(seed);
  const { array } = dataTypes[dtype];
  const numbers = Array.from({ length: elementCount(shape) }, () => random());
  const scaled = { float32: (x: number) => 0.2 + x, int8: (x: number) => 254 * x - 127, bool: Math.round };
  return new Tensor(dtype, shape, array.from(numbers.map(scaled[dtype])));
}
