import type { Graph, Node, Value } from '../graph/graph.ts';
import { partOf } from '../graph/part.ts';
import type { Engine, Tensors } from './session.ts';

/**
 * Runs a graph on some batches of inputs from one value to the next, each node once. Constants of nodes that
 * have not run may change in between. Held are what comes next of each batch: the values that later nodes read.
 */
export class Walk {
  readonly #engine: Engine;
  readonly #graph: Graph;
  readonly #pending: Set<Node>;
  readonly #live: Tensors[];

  /**
   * @param graph without graphs within nodes
   * @param batches by input name
   */
  constructor(engine: Engine, graph: Graph, batches: readonly Tensors[]) {
    this.#engine = engine;
    this.#graph = graph;
    this.#pending = new Set(graph.nodes);
    this.#live = batches.map((batch) => ({ ...batch }));
  }

  /** Some values, no inputs of the graph, on each batch, in order; those asked for before need not be there any more. */
  async to(values: readonly Value[]): Promise<Tensors[]> {
    const wanted = new Set(values);
    const before = this.#before(values);
    const nodes = this.#graph.nodes.filter((node) => before.has(node));
    for (const node of nodes) this.#pending.delete(node);
    const isNeeded = (value: Value) =>
      wanted.has(value) || value.uses.some(({ node }) => this.#pending.has(node));
    const made = nodes.flatMap((node) => node.outputs).filter((value) => value !== undefined);
    const part = partOf(this.#graph, nodes, made.filter(isNeeded));
    const kept = new Set(
      [...this.#graph.inputs, ...this.#graph.nodes.flatMap((node) => node.outputs)]
        .filter((value) => value !== undefined && isNeeded(value))
        .map((value) => value!.name),
    );
    const session = nodes.length > 0 ? await this.#engine.load(part.graph) : undefined;
    try {
      for (const held of this.#live) {
        const given = part.inputs.map(({ name }) => [name, held[name]!] as const);
        if (session) Object.assign(held, await session.run(Object.fromEntries(given)));
        for (const name of Object.keys(held)) if (!kept.has(name)) delete held[name];
      }
    } finally {
      await session?.dispose();
    }
    return this.#live.map((held) => Object.fromEntries(values.map(({ name }) => [name, held[name]!])));
  }

  /** What has to run for some values, and has not. */
  #before(values: readonly Value[]): Set<Node> {
    const found = new Set<Node>();
    const open = values.map(({ producer }) => producer);
    while (open.length > 0) {
      const node = open.pop();
      if (!node || found.has(node) || !this.#pending.has(node)) continue;
      found.add(node);
      for (const input of node.inputs) open.push(input?.producer);
    }
    return found;
  }
}
