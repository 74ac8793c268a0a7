import type { Graph, Value } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';

/** A weight of integers in the graph: `weight ~ values * scale`. */
export interface PackedWeight {
  /** int8: of a Linear `[in, out]`, of a convolution `[out, in / groups, ...window]`; int4: see `roundBlocks`. */
  readonly values: Value;
  /** float32 `[out]`, or a scalar; int4: `[out, blocks]`. */
  readonly scale: Value;
}

/** The integers that take the place of a graph's float weights. */
export class PackedWeights {
  readonly #graph: Graph;
  readonly #suffix: string;
  readonly #packed = new Map<string, PackedWeight & { readonly of: Value }>();

  /** @param suffix of the names of integers, as long as the float weight is there */
  constructor(graph: Graph, suffix: string) {
    this.#graph = graph;
    this.#suffix = suffix;
  }

  /**
   * The integers of a weight: made once for all layers that share it and use it alike. Its float numbers are let go of.
   * @param use tells apart layers that share the weight and need other integers
   * @param make gives undefined where the weight is to stay
   */
  async of(
    weight: Value,
    use: string,
    make: () => Promise<{ values: Tensor; scale: Tensor } | undefined>,
  ): Promise<PackedWeight | undefined> {
    const key = `${use} ${weight.name}`;
    const known = this.#packed.get(key);
    if (known) return known;
    const made = await make();
    if (!made) return undefined;
    const constant = (what: string, tensor: Tensor) =>
      this.#graph.addConstant(this.#graph.uniqueName(`${weight.name}_${what}`), tensor);
    const values = constant(this.#suffix, made.values);
    const pack = { of: weight, values, scale: constant('scale', made.scale) };
    this.#packed.set(key, pack);
    weight.tensor!.release();
    return pack;
  }

  /** Takes out what nobody reads any more; integers get the names of the float weights that went with it. */
  finish(): void {
    this.#graph.removeDead();
    for (const { of, values } of this.#packed.values()) {
      if (!this.#graph.constants.has(of.name)) this.#graph.rename(values, of.name);
    }
  }
}
