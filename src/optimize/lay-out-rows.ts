import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { linears } from '../graph/linear.ts';
import type { Engine } from '../runtime/session.ts';

/**
 * Lays the float32 weights of linear layers as `[out, in]`, in place, as PyTorch's operators want them:
 * `MatMul(x, W)` becomes `MatMul(x, Transpose(W'))`.
 *
 * It does not fire when somebody other than such layers reads the weight, or it is a graph output.
 *
 * @returns how many weights were laid anew
 */
export async function layOutRows(engine: Engine, graph: Graph): Promise<number> {
  const readers = new Map<Value, Set<unknown>>();
  for (const { weight, layout, product } of linears(graph)) {
    if (layout !== 'in,out' || product.op !== 'MatMul' || weight.dtype !== 'float32') continue;
    readers.set(weight, (readers.get(weight) ?? new Set()).add(product));
  }
  const swap = new Graph('swap axes');
  const columns = swap.addInput('columns', 'float32', ['I', 'O']);
  swap.outputs.push(new Builder(swap).op('Transpose', [columns], { perm: [1, 0] }, 'rows'));
  const session = await engine.load(swap);
  let count = 0;
  try {
    for (const [weight, products] of readers) {
      const shared = weight.uses.some(({ node, index }) => index !== 1 || !products.has(node));
      if (shared || graph.outputs.includes(weight)) continue;
      const { rows } = await session.run({ columns: weight.tensor! });
      const uses = [...weight.uses];
      graph.setConstant(weight, rows!);
      const turned = new Builder(graph, uses[0]!.node).op('Transpose', [weight], { perm: [1, 0] });
      for (const { node, index } of uses) node.setInput(index, turned);
      count++;
    }
  } finally {
    await session.dispose();
  }
  return count;
}
