import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { freeName } from '../graph/replace.ts';

/** A graph that folds what one batch says, tensors of some shapes, into what was known before. */
export interface Accumulator {
  readonly graph: Graph;
  readonly shapes: readonly (readonly number[])[];
  /** Of a classifier, whose loss looks at labels. */
  readonly classes: number | undefined;
  /** Images a batch must not exceed. */
  readonly atMost: number;
}

/** How what a batch says is folded in: added, or weighed by two numbers that come with each batch (`keep`, `add`). */
export type Fold = 'sum' | 'weighed';

/** `next = before + found`, or `before * keep + found * add`, for each of what is found. */
export function accumulate(
  graph: Graph,
  found: readonly Value[],
  shapes: readonly (readonly number[])[],
  classes: number | undefined,
  fold: Fold = 'weighed',
): Accumulator {
  const b = new Builder(graph);
  const number = (name: string) => graph.addInput(freeName(graph, name), 'float32', []);
  const weights = fold === 'weighed' ? [number('keep'), number('add')] : [];
  graph.outputs.length = 0;
  shapes.forEach((shape, i) => {
    const before = graph.addInput(freeName(graph, `before.${i}`), 'float32', shape);
    freeName(graph, `next.${i}`);
    const terms = [before, found[i]!].map((term, k) => (weights[k] ? b.op('Mul', [term, weights[k]]) : term));
    graph.outputs.push(b.op('Add', terms, {}, `next.${i}`));
  });
  graph.removeDead();
  return { graph, shapes, classes, atMost: Number.POSITIVE_INFINITY };
}
