import type { Graph, Node, Value } from '../graph/graph.ts';
import { partOf } from '../graph/part.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { isRandom } from '../graph/schema/traits.ts';
import { storedBytes, Tensor } from '../graph/tensor.ts';
import { subgraphs } from '../graph/traversal.ts';
import { type Engine, runOnce } from '../runtime/session.ts';

/** A result may be this much larger than what it is computed from, in bytes. */
const allowedGrowth = 1 << 9;
/** Operands that are in memory at a time, in bytes. */
const batchBytes = 1 << 24;
/** Operands with more elements are fed to the engine instead of being encoded into the graph it loads. */
const fedAbove = 256;

/**
 * Computes on the engine what depends on constants alone, in place.
 * 1. A node all of whose inputs are constants, or folded themselves, becomes a constant.
 * 2. `Shape` of a value whose axes are all known numbers becomes a constant.
 * 3. A constant that takes over from a parameter of its size (the transposed weight) takes its name.
 *
 * It does not fire
 * - on random ops and ops with subgraphs;
 * - on ops whose output shape is not known;
 * - where the result is larger than the operands, so that an `Expand`, or the `Cast` or
 *   `DequantizeLinear` after a compressed weight, does not swell the file;
 * - on the ops named in `keep`, which another engine computes in another way.
 *
 * @returns how many nodes were folded
 */
export async function foldConstants(
  engine: Engine,
  graph: Graph,
  keep: ReadonlySet<string> = new Set(),
): Promise<number> {
  const shapes = foldShapes(graph);
  const nodes = foldable(graph, keep);
  if (nodes.size === 0) return shapes;
  const wanted = [...nodes]
    .flatMap((node) => node.outputs)
    .filter((value): value is Value => value !== undefined && isWanted(graph, value, nodes));
  const results = await evaluate(engine, graph, nodes, wanted);
  const heirs: [Value, string][] = [];
  for (const [i, value] of wanted.entries()) {
    const constant = graph.addConstant(graph.uniqueName(`${value.name}_folded`), results[i]!);
    const ancestor = originOf(value);
    replaceValue(graph, value, constant);
    if (ancestor.tensor?.size === constant.tensor!.size && !graph.outputs.includes(constant)) {
      heirs.push([constant, ancestor.name]);
    }
  }
  graph.removeNodes(nodes);
  graph.removeDead();
  for (const [constant, name] of heirs) if (!graph.constants.has(name)) graph.rename(constant, name);
  return shapes + nodes.size;
}

function foldShapes(graph: Graph): number {
  let count = 0;
  for (const node of [...graph.nodes]) {
    if (node.op !== 'Shape') continue;
    const { start, end } = argumentsOf<'Shape'>(node);
    const part = node.input(0).shape?.slice(start, end);
    if (!part?.every((dim) => typeof dim === 'number')) continue;
    const constant = graph.addConstant(graph.uniqueName('shape'), Tensor.int64(part));
    replaceValue(graph, node.output(), constant);
    graph.removeNodes([node]);
    count++;
  }
  return count;
}

/** Nodes that depend on constants alone, less those that would make more of them. */
function foldable(graph: Graph, keep: ReadonlySet<string>): Set<Node> {
  const folded = new Set<Node>();
  for (const node of graph.nodes) {
    if (isRandom(node) || keep.has(node.op) || subgraphs(node).length > 0) continue;
    const inputs = node.inputs.filter((value) => value !== undefined);
    if (!inputs.every((value) => value.isConstant || (value.producer && folded.has(value.producer))))
      continue;
    const outputs = node.outputs.filter((value) => value !== undefined);
    if (!outputs.every((value) => value.dtype && value.shape?.every((dim) => typeof dim === 'number')))
      continue;
    const fits = bytes(outputs) <= bytes(inputs) + allowedGrowth;
    if (fits || node.op === 'Constant') folded.add(node);
  }
  return folded;
}

const bytes = (values: readonly Value[]) =>
  values.reduce((sum, value) => sum + storedBytes(value.dtype!, value.staticShape), 0);

const isWanted = (graph: Graph, value: Value, folded: ReadonlySet<Node>) =>
  graph.outputs.includes(value) || value.uses.some((use) => !folded.has(use.node));

/** The value at the head of the chain of first operands. */
function originOf(value: Value): Value {
  let at = value;
  while (at.producer?.inputs[0]) at = at.producer.inputs[0];
  return at;
}

/** Values to compute, with the nodes it takes, and the bytes of what those read. */
interface Batch {
  nodes: Node[];
  wanted: Value[];
  bytes: number;
}

/** Computes on the engine, some weights at a time, each let go of when it was read. */
async function evaluate(
  engine: Engine,
  graph: Graph,
  nodes: ReadonlySet<Node>,
  wanted: readonly Value[],
): Promise<Tensor[]> {
  const results = new Map<Value, Tensor>();
  for (const batch of batches(nodes, wanted)) {
    const part = partOf(graph, batch.nodes, batch.wanted, ({ tensor }) => tensor!.size > fedAbove);
    const feeds = Object.fromEntries(part.inputs.map((value) => [value.name, value.tensor!]));
    const made = await runOnce(engine, part.graph, feeds, { optimization: 'disabled' });
    for (const value of batch.wanted) results.set(value, made[value.name]!);
    for (const value of part.inputs) value.tensor!.release();
  }
  return wanted.map((value) => results.get(value)!);
}

/** Nodes that hang together through what they compute are in one batch; small groups share one. */
function batches(nodes: ReadonlySet<Node>, wanted: readonly Value[]): Batch[] {
  const found: Batch[] = [];
  const taken = new Set<Node>();
  const isWanted = new Set(wanted);
  for (const node of nodes) {
    if (taken.has(node)) continue;
    const group = connected(node, nodes, taken);
    const read = group.flatMap((member) => member.inputs.filter((value) => value?.isConstant));
    const size = bytes(read as Value[]);
    if (!found.length || found.at(-1)!.bytes + size > batchBytes)
      found.push({ nodes: [], wanted: [], bytes: 0 });
    const batch = found.at(-1)!;
    batch.nodes.push(...group);
    batch.wanted.push(
      ...group.flatMap((member) => member.outputs.filter((value) => isWanted.has(value!)) as Value[]),
    );
    batch.bytes += size;
  }
  const order = new Map([...nodes].map((node, i) => [node, i]));
  for (const batch of found) batch.nodes.sort((a, b) => order.get(a)! - order.get(b)!);
  return found;
}

/** The nodes that hang together with one through values that they compute. */
function connected(start: Node, nodes: ReadonlySet<Node>, taken: Set<Node>): Node[] {
  const group: Node[] = [];
  const open = [start];
  while (open.length) {
    const node = open.pop()!;
    if (taken.has(node) || !nodes.has(node)) continue;
    taken.add(node);
    group.push(node);
    for (const value of node.inputs) if (value?.producer) open.push(value.producer);
    for (const value of node.outputs) for (const use of value?.uses ?? []) open.push(use.node);
  }
  return group;
}
