import { Builder } from '../../graph/builder.ts';
import { Graph } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Engine } from '../../runtime/session.ts';

/** Sums over the rows that a layer reads, x in the float32 model and y in the quantized one, `[in, in]` each. */
export interface Moments {
  readonly rows: number;
  /** `y^T y`. */
  readonly gram: Tensor;
  /** `y^T (y - x)`. */
  readonly cross: Tensor;
  /** `(y - x)^T (y - x)`. */
  readonly drift: Tensor;
  /** `x^T x`. */
  readonly power: Tensor;
}

const names = ['gram', 'cross', 'drift', 'power'] as const;

/**
 * Products are made by the engine in float32, a batch at a time, and added up in float64.
 * @param batches what is read on each batch, `[..., channels]`
 */
export async function momentsOf(
  engine: Engine,
  channels: number,
  batches: Iterable<{ exact: Tensor; rounded: Tensor }>,
): Promise<Moments> {
  const sums = names.map(() => new Float64Array(channels * channels));
  let rows = 0;
  const session = await engine.load(momentGraph(channels));
  try {
    for (const { exact, rounded } of batches) {
      const count = exact.size / channels;
      const asRows = (tensor: Tensor) => Tensor.float32([count, channels], tensor.floats);
      const found = await session.run({ x: asRows(exact), y: asRows(rounded) });
      for (const [i, name] of names.entries()) {
        const [sum, { floats }] = [sums[i]!, found[name]!];
        for (let at = 0; at < sum.length; at++) sum[at]! += floats[at]!;
      }
      rows += count;
    }
  } finally {
    await session.dispose();
  }
  const [gram, cross, drift, power] = sums.map((sum) =>
    Tensor.float32([channels, channels], Float32Array.from(sum)),
  );
  return { rows, gram: gram!, cross: cross!, drift: drift!, power: power! };
}

function momentGraph(channels: number): Graph {
  const graph = new Graph('moments');
  const b = new Builder(graph);
  const [x, y] = ['x', 'y'].map((name) => graph.addInput(name, 'float32', ['rows', channels]));
  const apart = b.op('Sub', [y, x]);
  const product = (left: typeof apart, right: typeof apart, name: string) =>
    b.op('MatMul', [b.op('Transpose', [left], { perm: [1, 0] }), right], {}, name);
  graph.outputs.push(
    product(y!, y!, 'gram'),
    product(y!, apart, 'cross'),
    product(apart, apart, 'drift'),
    product(x!, x!, 'power'),
  );
  return graph;
}
