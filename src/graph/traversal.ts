import { UserError } from '../common/errors.ts';
import type { Graph, Node, Value } from './types.ts';

/** The subgraphs of a node (the branches of If, the body of Loop and Scan). */
export function subgraphs(node: Node): Graph[] {
  const found: Graph[] = [];
  for (const attribute of node.attributes.values())
    if (attribute.kind === 'graph') found.push(attribute.value);
  return found;
}

/** The subgraph that an `If` runs when its condition holds, or does not. */
export function branchOf(node: Node, condition: boolean): Graph | undefined {
  const attribute = node.attributes.get(condition ? 'then_branch' : 'else_branch');
  return attribute?.kind === 'graph' ? attribute.value : undefined;
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

/** What a node reads, through its subgraphs too. */
const reads = (node: Node): (Value | undefined)[] => [...node.inputs, ...capturedValues(node)];

/**
 * The nodes in an order in which each stands after those it reads, as they stand now where that is free.
 * @throws UserError on a cycle
 */
export function topologicalOrder(nodes: readonly Node[]): Node[] {
  const order: Node[] = [];
  const owned = new Set(nodes);
  const state = new Map<Node, 'open' | 'done'>();
  for (const start of nodes) {
    const stack: { node: Node; next: number; reads: (Value | undefined)[] }[] = [];
    const enter = (node: Node) => {
      if (state.get(node) === 'done' || !owned.has(node)) return;
      if (state.get(node) === 'open') throw new UserError(`the graph has a cycle through ${node.label}`);
      state.set(node, 'open');
      stack.push({ node, next: 0, reads: reads(node) });
    };
    enter(start);
    while (stack.length) {
      const top = stack[stack.length - 1]!;
      if (top.next < top.reads.length) {
        const producer = top.reads[top.next++]?.producer;
        if (producer) enter(producer);
      } else {
        state.set(top.node, 'done');
        order.push(top.node);
        stack.pop();
      }
    }
  }
  return order;
}

/** The nodes that the graph's outputs, or nodes of other graphs, depend on. */
export function liveNodes(graph: Graph): Set<Node> {
  const owned = new Set(graph.nodes);
  const live = new Set<Node>();
  const visit = graph.outputs.map((value) => value.producer);
  for (const node of graph.nodes) {
    if (node.outputs.some((output) => output?.uses.some((use) => !owned.has(use.node)))) visit.push(node);
  }
  while (visit.length) {
    const node = visit.pop();
    if (!node || live.has(node)) continue;
    live.add(node);
    for (const value of reads(node)) visit.push(value?.producer);
  }
  return live;
}
