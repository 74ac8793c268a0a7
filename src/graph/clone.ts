import type { Attribute, Clone, Graph, Node, Value } from './types.ts';

/**
 * Fills `copy`, a new and empty graph, with what `source` has: inputs, constants, nodes with their
 * subgraphs, outputs and all notes.
 * @param outer what stands in the copy for values of the graphs around `source`
 */
export function copyInto(
  copy: Graph,
  source: Graph,
  outer: ReadonlyMap<Value, Value>,
  subgraph: (source: Graph, parent: Graph, outer: ReadonlyMap<Value, Value>) => Clone,
): Clone {
  const values = new Map<Value, Value>();
  const twin = (value: Value): Value => values.get(value) ?? outer.get(value) ?? value;
  const remember = (value: Value, made: Value) => {
    made.dtype = value.dtype;
    made.shape = value.shape;
    made.carried = value.carried;
    values.set(value, made);
  };
  for (const [key, note] of source.metadata) copy.metadata.set(key, note);
  copy.opsets.clear();
  for (const [domain, version] of source.opsets) copy.opsets.set(domain, version);
  copy.carried = source.carried;
  for (const value of source.inputs) remember(value, copy.addInput(value.name, value.dtype!, value.shape));
  for (const value of source.constants.values()) {
    const input = values.get(value);
    if (input) copy.defaultInput(input, value.tensor!);
    else remember(value, copy.addConstant(value.name, value.tensor!));
  }
  const attributeOf = (attribute: Attribute): Attribute => {
    if (attribute.kind !== 'graph') return attribute;
    const inner = subgraph(attribute.value, copy, new Map([...outer, ...values]));
    for (const [value, made] of inner.values) values.set(value, made);
    return { ...attribute, value: inner.graph };
  };
  const copyNode = (node: Node) => {
    const made = copy.addNode({
      name: node.name,
      opType: node.opType,
      domain: node.domain,
      attributes: Object.fromEntries(
        [...node.attributes].map(([name, attribute]) => [name, attributeOf(attribute)]),
      ),
      inputs: node.inputs.map((value) => value && twin(value)),
      outputs: node.outputs.map((value) => value?.name ?? ''),
    });
    made.carried = node.carried;
    node.outputs.forEach((value, i) => {
      if (value) remember(value, made.output(i));
    });
  };
  for (const node of source.nodes) copyNode(node);
  copy.outputs.push(...source.outputs.map(twin));
  return { graph: copy, values };
}
