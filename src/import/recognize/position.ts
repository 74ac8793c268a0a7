import type { Graph } from '../../graph/graph.ts';
import { isFixed, otherOperand, soleReader } from '../../graph/patterns.ts';
import { scopedBuilder } from './linear.ts';

/**
 * Adds what is fixed first: `(x + c) + d` becomes `x + (c + d)`, c and d made of constants alone and of the shape of
 * one image each (a class token and positions), so that the sum is a constant once the model is exported. It does
 * not fire where somebody else reads the first sum.
 */
export function fixedSums(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    if (node.op !== 'Add') continue;
    const d = node.inputs.find((value) => value && isFixed(value));
    const inner = d && otherOperand(node, d).producer;
    if (inner?.op !== 'Add' || !soleReader(graph, inner.output())) continue;
    const c = inner.inputs.find((value) => value && isFixed(value) && !value.isConstant);
    const x = c && otherOperand(inner, c);
    if (!d || !x || isFixed(x) || c.shape?.length !== d.shape?.length || c.shape?.[0] !== 1) continue;
    const sum = scopedBuilder(graph, node).op('Add', [c, d], {}, 'prefix_and_position');
    node.setInput(0, x);
    node.setInput(1, sum);
  }
  graph.removeDead();
}
