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

/** `next = before * keep + found * add` for each of what is found. */
export function accumulate(
  graph: Graph,
  found: readonly Value[],
  shapes: readonly (readonly number[])[],
  classes: number | undefined,
): Accumulator {
  const b = new Builder(graph);
  const keep = graph.addInput(freeName(graph, 'keep'), 'float32', []);
  const add = graph.addInput(freeName(graph, 'add'), 'float32', []);
  graph.outputs.length = 0;
  shapes.forEach((shape, i) => {
    const before = graph.addInput(freeName(graph, `before.${i}`), 'float32', shape);
    freeName(graph, `next.${i}`);
    const sum = b.op('Add', [b.op('Mul', [before, keep]), b.op('Mul', [found[i]!, add])], {}, `next.${i}`);
    graph.outputs.push(sum);
  });
  graph.removeDead();
  return { graph, shapes, classes, atMost: Number.POSITIVE_INFINITY };
}
