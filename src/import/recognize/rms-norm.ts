import type { Graph } from '../../graph/graph.ts';
import { replaceValue } from '../../graph/replace.ts';
import { meanSquare, quotient } from './layer-norm.ts';
import { scopedBuilder } from './linear.ts';

/**
 * Writes `x / sqrt(mean(x x) + epsilon)` as our builders do, with `Pow`, `Sqrt` and `Div`, which ONNX Runtime fuses,
 * where it is written with a reciprocal. It does not fire where x is a difference from its mean.
 */
export function rmsNorm(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    const found = node.op === 'Mul' ? quotient(node) : undefined;
    if (!found || found.over.producer?.op === 'Sub' || !meanSquare(found.under, found.over)) continue;
    const b = scopedBuilder(graph, node);
    replaceValue(
      graph,
      node.output(),
      b.op('Div', [found.over, b.op('Sqrt', [found.under], {}, 'root')], {}, 'div'),
    );
    graph.removeNodes([node]);
  }
  graph.removeDead();
}
