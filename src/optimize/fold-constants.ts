import { Graph, type Node, type Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { isRandom } from '../graph/schema/traits.ts';
import { storedBytes, Tensor } from '../graph/tensor.ts';
import { subgraphs } from '../graph/traversal.ts';
import { type Engine, runOnce, type Tensors } from '../runtime/session.ts';

/** A result may be this much larger than what it is computed from, in bytes. */
const allowedGrowth = 1 << 9;
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

async function evaluate(
  engine: Engine,
  graph: Graph,
  nodes: ReadonlySet<Node>,
  wanted: readonly Value[],
): Promise<Tensor[]> {
  const part = new Graph('constants');
  for (const [domain, version] of graph.root.opsets) part.opsets.set(domain, version);
  const feeds: Tensors = {};
  const twins = new Map<Value, Value>();
  const twin = (value: Value): Value => {
    let made = twins.get(value);
    if (!made) {
      const tensor = value.tensor!;
      if (tensor.size > fedAbove) {
        made = part.addInput(value.name, tensor.dtype, tensor.shape);
        feeds[value.name] = tensor;
      } else made = part.addConstant(value.name, tensor);
      twins.set(value, made);
    }
    return made;
  };
  for (const node of nodes) {
    const made = part.addNode({
      opType: node.opType,
      domain: node.domain,
      name: node.name,
      inputs: node.inputs.map((value) => value && twin(value)),
      outputs: node.outputs.map((value) => value?.name ?? ''),
      attributes: Object.fromEntries(node.attributes),
    });
    node.outputs.forEach((value, i) => {
      if (!value) return;
      const output = made.output(i);
      output.dtype = value.dtype;
      output.shape = value.shape;
      twins.set(value, output);
    });
  }
  part.outputs.push(...wanted.map((value) => twins.get(value)!));
  const results = await runOnce(engine, part, feeds, { optimization: 'disabled' });
  return wanted.map((value) => results[value.name]!);
}
