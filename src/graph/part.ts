import { Graph, type Node, type Value } from './graph.ts';

/** Some nodes of a graph, as a graph of their own. */
export interface Part {
  readonly graph: Graph;
  /** Values of the source that the part takes, in the order of its inputs, which bear their names. */
  readonly inputs: readonly Value[];
}

/**
 * A graph of some nodes. What they read from elsewhere becomes an input; constants stay constants, sharing
 * their numbers with the source, unless `takes` wants them as inputs too.
 * @param nodes in an order in which they can run, without subgraphs
 * @param outputs values that they make
 */
export function partOf(
  source: Graph,
  nodes: Iterable<Node>,
  outputs: readonly Value[],
  takes: (constant: Value) => boolean = () => false,
): Part {
  const graph = new Graph(source.name);
  for (const [domain, version] of source.root.opsets) graph.opsets.set(domain, version);
  const inputs: Value[] = [];
  const twins = new Map<Value, Value>();
  const twin = (value: Value): Value => {
    let made = twins.get(value);
    if (made) return made;
    if (value.isConstant && !takes(value)) made = graph.addConstant(value.name, value.tensor!);
    else {
      made = graph.addInput(value.name, value.dtype!, value.shape);
      inputs.push(value);
    }
    twins.set(value, made);
    return made;
  };
  for (const node of nodes) {
    const made = graph.addNode({
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
  graph.outputs.push(...outputs.map((value) => twins.get(value)!));
  return { graph, inputs };
}
