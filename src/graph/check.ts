import { subgraphs } from './traversal.ts';
import type { Graph, Value } from './types.ts';

/**
 * What is wrong with a graph, a line each; nothing for a sound one. Checks that producers and uses
 * agree, that nodes stand in topological order, that names are unique, that nothing reads a value
 * from elsewhere, and that constants agree with their recorded dtype and shape.
 */
export function checkGraph(graph: Graph, outer: ReadonlySet<Value> = new Set()): string[] {
  const problems: string[] = [];
  const names = new Set<string>();
  const defined = new Set<Value>(outer);
  const define = (value: Value, what: string) => {
    if (names.has(value.name)) problems.push(`${what} "${value.name}": the name is taken`);
    names.add(value.name);
    defined.add(value);
  };
  for (const value of graph.inputs) {
    define(value, 'input');
    if (value.producer) problems.push(`input "${value.name}" has a producer ${value.producer.label}`);
  }
  for (const [name, value] of graph.constants) {
    if (!defined.has(value)) define(value, 'constant');
    if (name !== value.name) problems.push(`constant "${value.name}" is filed under "${name}"`);
    if (!value.tensor) problems.push(`constant "${name}" has no tensor`);
    else if (value.tensor.dtype !== value.dtype || `${value.tensor.shape}` !== `${value.shape}`) {
      problems.push(
        `constant "${name}" is ${value.tensor.dtype}[${value.tensor.shape}] but recorded as ${value.dtype}[${value.shape}]`,
      );
    }
  }
  for (const node of graph.nodes) {
    node.inputs.forEach((value, index) => {
      if (!value) return;
      if (!defined.has(value)) problems.push(`${node.label} reads "${value.name}" before it is made`);
      if (!value.uses.some((use) => use.node === node && use.index === index)) {
        problems.push(`${node.label} reads "${value.name}" but is not among its uses`);
      }
    });
    for (const nested of subgraphs(node)) {
      problems.push(...checkGraph(nested, defined).map((problem) => `in ${node.label}: ${problem}`));
    }
    for (const value of node.outputs) {
      if (!value) continue;
      define(value, `output of ${node.label}`);
      if (value.producer !== node) problems.push(`"${value.name}" does not know its producer ${node.label}`);
    }
  }
  for (const value of defined) {
    for (const { node, index } of value.uses) {
      if (node.inputs[index] !== value)
        problems.push(`"${value.name}" claims a use by ${node.label} that is none`);
    }
  }
  for (const value of graph.outputs) {
    if (!defined.has(value)) problems.push(`graph output "${value.name}" is made by nobody`);
  }
  return problems;
}
