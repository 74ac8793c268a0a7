import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type Engine, runOnce, type Tensors } from '../runtime/session.ts';

/** A small graph that makes new weights of a model's constants, for the engine to compute. */
export class WeightGraph {
  readonly builder: Builder;
  readonly #graph = new Graph('weights');
  readonly #constants = new Map<Value, Value>();

  constructor() {
    this.builder = new Builder(this.#graph);
  }

  /** A constant of the model, as a value here. */
  of(constant: Value): Value {
    let value = this.#constants.get(constant);
    if (!value) {
      const { dtype, shape } = constant.tensor!;
      value = this.#graph.addInput(`constant${this.#constants.size}`, dtype, [...shape]);
      this.#constants.set(constant, value);
    }
    return value;
  }

  /** What the values are. They must be computed, not constants themselves. */
  async compute(engine: Engine, values: readonly Value[]): Promise<Tensor[]> {
    this.#graph.outputs.push(...values);
    this.#graph.removeDead();
    const feeds: Tensors = {};
    for (const [constant, value] of this.#constants) feeds[value.name] = constant.tensor!;
    const results = await runOnce(engine, this.#graph, feeds, { optimization: 'disabled' });
    for (const constant of this.#constants.keys()) constant.tensor!.release();
    return values.map(({ name }) => results[name]!);
  }
}
